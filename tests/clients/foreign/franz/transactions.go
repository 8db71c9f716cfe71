package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transacting adds the deeds of transactional producers, each known by its id, step by step.
func transacting(address string, deeds map[string]deed) {
	clients := map[string]*kgo.Client{}
	of := func(told told) *kgo.Client { return clients[word(told)] }
	deeds["tx_init"] = func(ctx context.Context, told told) (answer, error) {
		options := append(at(address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		client, err := kgo.NewClient(append(options, transactional(told)...)...)
		if err != nil {
			return nil, err
		}
		if before := of(told); before != nil {
			before.Close()
		}
		clients[word(told)] = client
		_, _, err = client.ProducerID(ctx)
		return answer{}, err
	}
	deeds["tx_begin"] = func(_ context.Context, told told) (answer, error) {
		return answer{}, of(told).BeginTransaction()
	}
	deeds["tx_send"] = func(ctx context.Context, told told) (answer, error) {
		sent := make([]*kgo.Record, len(told.Records))
		for n, it := range told.Records {
			sent[n] = made(told.Topic, it)
		}
		err := of(told).ProduceSync(ctx, sent...).FirstErr()
		offsets := make([]int64, len(sent))
		for n, it := range sent {
			offsets[n] = it.Offset
		}
		return answer{"offsets": offsets}, err
	}
	deeds["tx_end"] = func(ctx context.Context, told told) (answer, error) {
		return answer{}, of(told).EndTransaction(ctx, kgo.TransactionEndTry(told.Commit))
	}
	deeds["tx_close"] = func(_ context.Context, told told) (answer, error) {
		of(told).Close()
		delete(clients, word(told))
		return answer{}, nil
	}
	deeds["tx_copy"] = copying(address)
}

// word tells two producers apart that have the same id.
func word(told told) string {
	if told.As != "" {
		return told.As
	}
	return told.ID
}

func transactional(told told) []kgo.Opt {
	timeout := time.Minute
	if told.TimeoutMs > 0 {
		timeout = time.Duration(told.TimeoutMs) * time.Millisecond
	}
	return []kgo.Opt{kgo.TransactionalID(told.ID), kgo.TransactionTimeout(timeout)}
}

// copying consumes, transforms and produces, until so many records of a topic are copied.
func copying(address string) deed {
	return func(ctx context.Context, told told) (answer, error) {
		options := append(at(address), transactional(told)...)
		session, err := kgo.NewGroupTransactSession(append(options,
			kgo.ConsumerGroup(told.Group),
			kgo.ConsumeTopics(told.From),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.RequireStableFetchOffsets(),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
		)...)
		if err != nil {
			return nil, err
		}
		defer session.Close()
		left, transactions := told.Count, 0
		for left > 0 {
			fetches := session.PollRecords(ctx, 7)
			if errs := fetches.Errors(); len(errs) > 0 {
				return nil, fmt.Errorf("%d records left, then %w", left, errs[0].Err)
			}
			if err := session.Begin(); err != nil {
				return nil, err
			}
			sent := []*kgo.Record{}
			fetches.EachRecord(func(it *kgo.Record) {
				value := "copied " + string(it.Value)
				sent = append(sent, &kgo.Record{Topic: told.Into, Partition: it.Partition, Key: it.Key, Value: []byte(value)})
			})
			if err := session.ProduceSync(ctx, sent...).FirstErr(); err != nil {
				return nil, err
			}
			done, err := session.End(ctx, kgo.TryCommit)
			if err != nil {
				return nil, err
			}
			if done {
				left -= len(sent)
				transactions++
			}
		}
		return answer{"left": left, "transactions": transactions}, nil
	}
}
