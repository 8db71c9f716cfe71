// franz-go: does what each line of JSON on standard input says, and answers each with one line; or,
// as `client ADDRESS member {...}`, is a group's member until its input ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const deadline = 30 * time.Second

type answer = map[string]any

type deed func(ctx context.Context, told told) (answer, error)

// told is everything that a deed or a member may be told.
type told struct {
	Do            string             `json:"do"`
	Topic         string             `json:"topic"`
	Partition     int32              `json:"partition"`
	Partitions    int32              `json:"partitions"`
	Offset        int64              `json:"offset"`
	Before        int64              `json:"before"`
	Timestamp     int64              `json:"timestamp"`
	Count         int                `json:"count"`
	Records       []record           `json:"records"`
	Compression   string             `json:"compression"`
	Acks          string             `json:"acks"`
	Idempotent    bool               `json:"idempotent"`
	BatchSize     int32              `json:"batch_size"`
	Transactional string             `json:"transactional"`
	Isolation     string             `json:"isolation"`
	Config        map[string]*string `json:"config"`
	Group         string             `json:"group"`
	Protocol      string             `json:"protocol"`
	Assignor      string             `json:"assignor"`
	Pattern       string             `json:"pattern"`
	Instance      string             `json:"instance"`
	ID            string             `json:"id"`
	As            string             `json:"as"`
	TimeoutMs     int                `json:"timeout_ms"`
	Commit        bool               `json:"commit"`
	From          string             `json:"from"`
	Into          string             `json:"into"`
}

func main() {
	address := os.Args[1]
	if len(os.Args) > 2 {
		var settings told
		must(json.Unmarshal([]byte(os.Args[3]), &settings))
		member(address, settings)
		return
	}
	// Topics are listed as they are now, not as they were a while ago.
	client, err := kgo.NewClient(append(at(address), kgo.MetadataMinAge(10*time.Millisecond))...)
	must(err)
	defer client.Close()
	deeds := map[string]deed{"produce": producing(address), "consume": consuming(address)}
	administering(kadm.NewClient(client), deeds)
	transacting(address, deeds)
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		must(err)
		say(answerTo(deeds, line))
	}
}

func answerTo(deeds map[string]deed, line []byte) answer {
	var told told
	must(json.Unmarshal(line, &told))
	do, known := deeds[told.Do]
	if !known {
		return answer{"error": "there is no deed " + told.Do}
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	found, err := do(ctx, told)
	if err != nil {
		return answer{"error": err.Error()}
	}
	return found
}

func say(told any) {
	line, err := json.Marshal(told)
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
