package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// record is one as it is told; a header is a pair of texts, the second may be null.
type record struct {
	Partition int32       `json:"partition"`
	Offset    int64       `json:"offset"`
	Timestamp int64       `json:"timestamp"`
	Key       *string     `json:"key"`
	Value     *string     `json:"value"`
	Headers   [][]*string `json:"headers"`
}

var codecs = map[string]kgo.CompressionCodec{
	"":       kgo.NoCompression(),
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

var acks = map[string]kgo.Acks{
	"":    kgo.AllISRAcks(),
	"all": kgo.AllISRAcks(),
	"1":   kgo.LeaderAck(),
	"0":   kgo.NoAck(),
}

func producing(address string) deed {
	return func(ctx context.Context, told told) (answer, error) {
		options := append(at(address),
			kgo.AllowAutoTopicCreation(),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(codecs[told.Compression]),
			kgo.RequiredAcks(acks[told.Acks]),
			kgo.ProducerLinger(20*time.Millisecond),
		)
		if !told.Idempotent {
			options = append(options, kgo.DisableIdempotentWrite())
		}
		if told.BatchSize > 0 {
			options = append(options, kgo.ProducerBatchMaxBytes(told.BatchSize))
		}
		if told.Transactional != "" {
			options = append(options, kgo.TransactionalID(told.Transactional))
		}
		client, err := kgo.NewClient(options...)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		if told.Transactional != "" {
			if err := client.BeginTransaction(); err != nil {
				return nil, err
			}
		}
		sent := make([]*kgo.Record, len(told.Records))
		for n, it := range told.Records {
			sent[n] = made(told.Topic, it)
		}
		if err := client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
			return nil, err
		}
		if told.Transactional != "" {
			if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
				return nil, err
			}
		}
		offsets := make([]int64, len(sent))
		for n, it := range sent {
			offsets[n] = it.Offset
		}
		return answer{"offsets": offsets}, nil
	}
}

func made(topic string, it record) *kgo.Record {
	made := &kgo.Record{Topic: topic, Partition: it.Partition, Key: bytes(it.Key), Value: bytes(it.Value)}
	if it.Timestamp != 0 {
		made.Timestamp = time.UnixMilli(it.Timestamp)
	}
	for _, header := range it.Headers {
		made.Headers = append(made.Headers, kgo.RecordHeader{Key: *header[0], Value: bytes(header[1])})
	}
	return made
}

func consuming(address string) deed {
	return func(ctx context.Context, told told) (answer, error) {
		from := map[int32]kgo.Offset{told.Partition: kgo.NewOffset().At(told.Offset)}
		options := append(at(address),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{told.Topic: from}),
		)
		if told.Isolation == "read_committed" {
			options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		}
		client, err := kgo.NewClient(options...)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		found := []record{}
		for len(found) < told.Count {
			fetches := client.PollRecords(ctx, told.Count-len(found))
			if err := fetches.Err0(); err != nil {
				return nil, fmt.Errorf("%d records, then %w", len(found), err)
			}
			if errs := fetches.Errors(); len(errs) > 0 {
				return nil, errs[0].Err
			}
			fetches.EachRecord(func(it *kgo.Record) { found = append(found, shown(it)) })
		}
		return answer{"records": found}, nil
	}
}

func shown(it *kgo.Record) record {
	headers := [][]*string{}
	for _, header := range it.Headers {
		headers = append(headers, []*string{&header.Key, text(header.Value)})
	}
	return record{it.Partition, it.Offset, it.Timestamp.UnixMilli(), text(it.Key), text(it.Value), headers}
}

func bytes(text *string) []byte {
	if text == nil {
		return nil
	}
	return []byte(*text)
}

func text(bytes []byte) *string {
	if bytes == nil {
		return nil
	}
	found := string(bytes)
	return &found
}
