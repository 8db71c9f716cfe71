package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func administering(admin *kadm.Client, deeds map[string]deed) {
	aboutTopics(admin, deeds)
	aboutRecords(admin, deeds)
	aboutGroups(admin, deeds)
}

func aboutTopics(admin *kadm.Client, deeds map[string]deed) {
	deeds["nodes"] = func(ctx context.Context, _ told) (answer, error) {
		found, err := admin.ListBrokers(ctx)
		nodes := []string{}
		for _, it := range found {
			nodes = append(nodes, fmt.Sprintf("%s:%d", it.Host, it.Port))
		}
		return answer{"nodes": nodes}, err
	}
	deeds["topics"] = func(ctx context.Context, _ told) (answer, error) {
		found, err := admin.ListTopics(ctx)
		return answer{"topics": found.Names()}, err
	}
	deeds["create"] = func(ctx context.Context, told told) (answer, error) {
		_, err := admin.CreateTopic(ctx, max(told.Partitions, 1), -1, told.Config, told.Topic)
		return answer{}, err
	}
	deeds["partitions"] = func(ctx context.Context, told told) (answer, error) {
		found, err := admin.ListTopics(ctx, told.Topic)
		if err == nil {
			err = found[told.Topic].Err
		}
		return answer{"partitions": len(found[told.Topic].Partitions)}, err
	}
	deeds["grow"] = func(ctx context.Context, told told) (answer, error) {
		found, err := admin.UpdatePartitions(ctx, int(told.Partitions), told.Topic)
		return answer{}, errors.Join(err, found.Error())
	}
	deeds["delete"] = func(ctx context.Context, told told) (answer, error) {
		_, err := admin.DeleteTopic(ctx, told.Topic)
		return answer{}, err
	}
	deeds["settings"] = func(ctx context.Context, told told) (answer, error) {
		found, err := admin.DescribeTopicConfigs(ctx, told.Topic)
		if err != nil {
			return nil, err
		}
		described, err := found.On(told.Topic, nil)
		settings := map[string][]any{}
		for _, it := range described.Configs {
			settings[it.Key] = []any{it.Value, it.Source == kmsg.ConfigSourceDefaultConfig}
		}
		return answer{"settings": settings}, errors.Join(err, described.Err)
	}
	deeds["set"] = func(ctx context.Context, told told) (answer, error) {
		changes := []kadm.AlterConfig{}
		for name, value := range told.Config {
			op := kadm.SetConfig
			if value == nil {
				op = kadm.DeleteConfig
			}
			changes = append(changes, kadm.AlterConfig{Op: op, Name: name, Value: value})
		}
		found, err := admin.AlterTopicConfigs(ctx, changes, told.Topic)
		for _, it := range found {
			err = errors.Join(err, it.Err)
		}
		return answer{}, err
	}
}

func aboutRecords(admin *kadm.Client, deeds map[string]deed) {
	deeds["ends"] = func(ctx context.Context, told told) (answer, error) {
		starts, err := admin.ListStartOffsets(ctx, told.Topic)
		if err != nil {
			return nil, err
		}
		ends, err := admin.ListEndOffsets(ctx, told.Topic)
		start, _ := starts.Lookup(told.Topic, told.Partition)
		end, _ := ends.Lookup(told.Topic, told.Partition)
		return answer{"start": start.Offset, "end": end.Offset}, errors.Join(err, start.Err, end.Err)
	}
	deeds["offset_at"] = func(ctx context.Context, told told) (answer, error) {
		found, err := admin.ListOffsetsAfterMilli(ctx, told.Timestamp, told.Topic)
		at, _ := found.Lookup(told.Topic, told.Partition)
		return answer{"offset": at.Offset}, errors.Join(err, at.Err)
	}
	deeds["delete_records"] = func(ctx context.Context, told told) (answer, error) {
		var before kadm.Offsets
		before.AddOffset(told.Topic, told.Partition, told.Before, -1)
		found, err := admin.DeleteRecords(ctx, before)
		return answer{}, errors.Join(err, found.Error())
	}
}

func aboutGroups(admin *kadm.Client, deeds map[string]deed) {
	deeds["groups"] = func(ctx context.Context, _ told) (answer, error) {
		found, err := admin.ListGroups(ctx)
		return answer{"groups": found.Groups()}, err
	}
	deeds["group"] = func(ctx context.Context, told told) (answer, error) {
		if told.Protocol == "consumer" {
			return consumerGroup(ctx, admin, told.Group)
		}
		described, err := admin.DescribeGroups(ctx, told.Group)
		found := described[told.Group]
		partitions := []int32{}
		for _, member := range found.Members {
			if held, ok := member.Assigned.AsConsumer(); ok {
				for _, it := range held.Topics {
					partitions = append(partitions, it.Partitions...)
				}
			}
		}
		slices.Sort(partitions)
		return answer{
			"state": found.State, "members": len(found.Members), "partitions": partitions,
			"assignor": found.Protocol,
		}, errors.Join(err, found.Err)
	}
	deeds["committed"] = func(ctx context.Context, told told) (answer, error) {
		found, err := admin.FetchOffsets(ctx, told.Group)
		committed := map[int32]int64{}
		found.Each(func(it kadm.OffsetResponse) { committed[it.Partition] = it.At })
		return answer{"committed": committed}, err
	}
	deeds["reset"] = func(ctx context.Context, told told) (answer, error) {
		var to kadm.Offsets
		to.AddOffset(told.Topic, told.Partition, told.Offset, -1)
		return answer{}, admin.CommitAllOffsets(ctx, told.Group, to)
	}
	deeds["delete_group"] = func(ctx context.Context, told told) (answer, error) {
		_, err := admin.DeleteGroup(ctx, told.Group)
		return answer{}, err
	}
}

// consumerGroup describes a group by KIP-848.
func consumerGroup(ctx context.Context, admin *kadm.Client, name string) (answer, error) {
	described, err := admin.DescribeConsumerGroups(ctx, name)
	found := described[name]
	partitions := []int32{}
	for _, member := range found.Members {
		for _, held := range member.Assignment {
			for it := range held {
				partitions = append(partitions, it)
			}
		}
	}
	slices.Sort(partitions)
	return answer{
		"state": found.State, "members": len(found.Members), "partitions": partitions,
		"assignor": found.AssignorName,
	}, errors.Join(err, found.Err)
}
