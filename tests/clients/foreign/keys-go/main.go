// Command client does one exercise with the server's keys: client HOST PORT EXERCISE.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const deadline = 30 * time.Second

var (
	run     context.Context
	address string
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func same(found, expected any) {
	if fmt.Sprint(found) != fmt.Sprint(expected) {
		panic(fmt.Sprintf("%v, expected %v", found, expected))
	}
}

func until(what string, holds func() bool) {
	for end := time.Now().Add(deadline); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			panic("in vain: " + what)
		}
	}
}

func connect(protocol int) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: address, Protocol: protocol, MaxRetries: 10, ClientName: "go"})
}

// A cache with times to live, a lock, a pipeline, a transaction, a queue, messages beside.
func tasks() {
	for _, protocol := range []int{2, 3} {
		client := connect(protocol)
		check(client.FlushDB(run).Err())
		check(client.Set(run, "a", 1, 100*time.Second).Err())
		same(must(client.Get(run, "a").Int()), 1)
		same(must(client.TTL(run, "a").Result()), "1m40s")
		same(client.Get(run, "none").Err(), redis.Nil)
		check(client.Set(run, "short", 1, time.Millisecond).Err())
		until("that it expires", func() bool { return client.Get(run, "short").Err() == redis.Nil })
		same(must(client.SetNX(run, "lock", "me", deadline).Result()), true)
		same(must(client.SetNX(run, "lock", "you", deadline).Result()), false)
		var last *redis.IntCmd
		must(client.Pipelined(run, func(pipe redis.Pipeliner) error {
			for range 1000 {
				last = pipe.Incr(run, "n")
			}
			return nil
		}))
		same(last.Val(), 1000)
		var crowd sync.WaitGroup
		for range 20 { // each takes one more, by watching
			crowd.Go(func() { increment(client) })
		}
		crowd.Wait()
		same(must(client.Get(run, "n").Int()), 1020)
		popped := make(chan []string)
		go func() { popped <- must(client.BLPop(run, deadline, "queue").Result()) }()
		check(client.RPush(run, "queue", "job").Err())
		same(<-popped, "[queue job]")
		listener := client.PSubscribe(run, "news:*")
		must(listener.Receive(run))
		same(must(client.Publish(run, "news:1", "hello").Result()), 1)
		same((<-listener.Channel()).Payload, "hello")
		check(listener.Close())
		check(client.HSet(run, "h", map[string]any{"f": 1, "g": "x"}).Err())
		same(must(client.HGetAll(run, "h").Result()), map[string]string{"f": "1", "g": "x"})
		check(client.ZAdd(run, "z", redis.Z{Score: 1.5, Member: "a"}, redis.Z{Score: 2, Member: "b"}).Err())
		same(must(client.ZRangeWithScores(run, "z", 0, -1).Result()), "[{1.5 a} {2 b}]")
		var keys []string
		for it := client.Scan(run, 0, "*", 2).Iterator(); it.Next(run); {
			keys = append(keys, it.Val())
		}
		slices.Sort(keys)
		same(slices.Compact(keys), "[a h lock n z]")
		same(strings.Contains(client.Info(run, "keyspace").Val(), "db0:keys=5"), true)
		check(client.Close())
	}
}

func increment(client *redis.Client) {
	for {
		err := client.Watch(run, func(tx *redis.Tx) error {
			n := must(tx.Get(run, "n").Int())
			_, err := tx.TxPipelined(run, func(pipe redis.Pipeliner) error {
				return pipe.Set(run, "n", n+1, 0).Err()
			})
			return err
		}, "n")
		if !errors.Is(err, redis.TxFailedErr) {
			check(err)
			return
		}
	}
}

// The server is killed and comes back.
func recovery() {
	client := connect(3)
	check(client.Set(run, "lasting", 1, time.Hour).Err())
	check(client.RPush(run, "jobs", "one", "two").Err())
	listener := client.Subscribe(run, "news")
	must(listener.Receive(run))
	heard := listener.Channel()
	fmt.Println("ready")
	must(bufio.NewReader(os.Stdin).ReadString('\n'))
	until("the server", func() bool { return client.Ping(run).Err() == nil })
	same(must(client.Get(run, "lasting").Int()), 1)
	same(must(client.TTL(run, "lasting").Result()) > 3000*time.Second, true)
	same(must(client.LRange(run, "jobs", 0, -1).Result()), "[one two]")
	until("its listener", func() bool { return client.Publish(run, "news", "again").Val() == 1 })
	same((<-heard).Payload, "again")
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), 3*deadline)
	defer stop()
	run = ctx
	address = os.Args[1] + ":" + os.Args[2]
	map[string]func(){"tasks": tasks, "recovery": recovery}[os.Args[3]]()
	fmt.Println("done")
}
