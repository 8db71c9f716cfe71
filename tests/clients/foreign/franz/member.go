package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member tells of each batch of records, then commits it.
func member(address string, told told) {
	client, err := kgo.NewClient(options(address, told)...)
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		must(err)
		cancel()
	}()
	for {
		fetches := client.PollFetches(ctx)
		if errors.Is(fetches.Err0(), context.Canceled) {
			break
		}
		for _, it := range fetches.Errors() {
			var session *kgo.ErrGroupSession // the client joins again by itself
			if !errors.As(it.Err, &session) {
				panic(it.Err)
			}
			fmt.Fprintln(os.Stderr, it.Err)
		}
		if !fetches.Empty() {
			take(ctx, client, fetches.Records())
		}
	}
	client.Close()
	say(answer{"ended": true})
}

func take(ctx context.Context, client *kgo.Client, records []*kgo.Record) {
	found, committed := [][]any{}, map[int32]int64{}
	for _, it := range records {
		found = append(found, []any{it.Partition, it.Offset, string(it.Value)})
		committed[it.Partition] = it.Offset + 1
	}
	say(answer{"records": found})
	if err := client.CommitRecords(ctx, records...); err != nil {
		fmt.Fprintln(os.Stderr, "not committed:", err)
		return
	}
	say(answer{"committed": committed})
}

func options(address string, told told) []kgo.Opt {
	tell := func(what string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			say(answer{what: append([]int32{}, partitions[told.Topic]...)})
		}
	}
	found := append(at(address),
		kgo.ConsumerGroup(told.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.MetadataMinAge(500*time.Millisecond), kgo.MetadataMaxAge(time.Second), // how soon more partitions are seen
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(tell("assigned")),
		kgo.OnPartitionsRevoked(tell("revoked")),
		kgo.OnPartitionsLost(tell("revoked")),
	)
	if told.Pattern != "" { // by KIP-848 the server finds out which topics match
		found = append(found, kgo.ConsumeRegex(), kgo.ConsumeTopics(told.Pattern))
	} else {
		found = append(found, kgo.ConsumeTopics(told.Topic))
	}
	switch told.Assignor {
	case "range":
		found = append(found, kgo.Balancers(kgo.RangeBalancer()))
	case "sticky":
		found = append(found, kgo.Balancers(kgo.StickyBalancer()))
	}
	if told.Protocol == "consumer" {
		found = append(found, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	if told.Instance != "" {
		found = append(found, kgo.InstanceID(told.Instance))
	}
	return found
}
