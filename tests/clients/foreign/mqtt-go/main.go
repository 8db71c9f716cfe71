// Command client does one exercise with a broker: client VERSION HOST PORT EXERCISE.
//
// VERSION 3 is paho.mqtt.golang, which speaks MQTT 3.1.1, and 5 is paho.golang; 3ws and 5ws are they
// over WebSocket.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const deadline = 30 * time.Second

// A message as it has come.
type message struct {
	topic, body string
	qos         byte
	retained    bool
}

// What a peer is to be.
type about struct {
	will    string // the topic of its will
	lasting bool   // its session outlives its connections
	back    bool   // it reconnects by itself
}

// A peer is a client that is connected.
type peer interface {
	present() bool // what the server said of its session when it connected
	again() bool   // whether it is connected again, to its session
	subscribe(filter string, qos byte) byte
	unsubscribe(filter string)
	publish(topic, body string, qos byte, retained bool) // returns when it is acknowledged
	messages() <-chan message
	drop()  // without a word
	close() // with a DISCONNECT
}

// All that the exercise does has to end in time.
var run context.Context

var connect func(id string, its about) peer

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

func next[T any](from <-chan T, what string) T {
	select {
	case it := <-from:
		return it
	case <-time.After(deadline):
		panic("in vain: " + what)
	}
}

func numbers(from, count int) []string {
	var all []string
	for n := range count {
		all = append(all, fmt.Sprint(from+n))
	}
	return all
}

func bodies(from peer, count int) []string {
	var found []string
	for range count {
		found = append(found, next(from.messages(), "a message").body)
	}
	return found
}

// The next body is this one, behind those of 0 to 49 that were not acknowledged when it was dropped.
func afterLast(from peer, body string) {
	it := bodies(from, 1)[0]
	if it != body {
		last := numbers(0, 50)
		at := slices.Index(last, it)
		same(at >= 0, true)
		same(bodies(from, 50-at), append(last[at+1:], body))
	}
}

func qos() {
	hearer, sender := connect("q-hearer", about{}), connect("q-sender", about{})
	for level := range byte(3) {
		topic := fmt.Sprintf("go/qos/%d", level)
		same(hearer.subscribe(topic, level), level)
		for _, body := range numbers(0, 50) {
			sender.publish(topic, body, level, false)
		}
		for _, body := range numbers(0, 50) {
			same(next(hearer.messages(), body), message{topic, body, level, false})
		}
	}
	sender.publish("go/qos/0", "x", 2, false)
	same(next(hearer.messages(), "x").qos, 0) // not more than was granted
	hearer.unsubscribe("go/qos/0")
	sender.publish("go/qos/0", "not heard", 1, false)
	sender.publish("go/qos/1", "heard", 1, false)
	same(next(hearer.messages(), "heard").body, "heard")
	large := strings.Repeat("x", 1<<20)
	for level := range byte(3) {
		sender.publish("go/qos/2", large, level, false)
		same(next(hearer.messages(), "large").body == large, true)
	}
}

func retained() {
	sender := connect("r-sender", about{})
	for level := range byte(3) {
		sender.publish(fmt.Sprintf("go/kept/%d", level), "old", level, true)
		sender.publish(fmt.Sprintf("go/kept/%d", level), "new", level, true)
	}
	late := connect("r-late", about{})
	late.subscribe("go/kept/+", 1)
	var found []string
	for range 3 {
		it := next(late.messages(), "what is retained")
		found = append(found, fmt.Sprint(it))
	}
	slices.Sort(found)
	same(found, "[{go/kept/0 new 0 true} {go/kept/1 new 1 true} {go/kept/2 new 1 true}]")
	for level := range 3 {
		sender.publish(fmt.Sprintf("go/kept/%d", level), "", 1, true)
		same(next(late.messages(), "that it is gone").retained, false)
	}
	again := connect("r-again", about{})
	again.subscribe("go/kept/#", 1)
	sender.publish("go/kept/end", "end", 1, false)
	same(next(again.messages(), "the end").body, "end")
}

func will() {
	hearer := connect("w-hearer", about{})
	hearer.subscribe("go/will/#", 1)
	orderly := connect("w-orderly", about{will: "go/will/never"})
	orderly.close()
	lost := connect("w-lost", about{will: "go/will/lost"})
	lost.drop()
	same(next(hearer.messages(), "the will"), message{"go/will/lost", "gone", 1, false})
	late := connect("w-late", about{})
	late.subscribe("go/will/#", 1)
	same(next(late.messages(), "the will"), message{"go/will/lost", "gone", 1, true})
	late.publish("go/will/lost", "", 1, true)
}

func session() {
	away := connect("s-away", about{lasting: true})
	same(away.present(), false)
	away.subscribe("go/session/#", 2)
	away.close()
	sender := connect("s-sender", about{})
	for _, body := range numbers(0, 50) {
		sender.publish("go/session/a", body, 1+body[len(body)-1]%2, false)
	}
	again := connect("s-away", about{lasting: true})
	same(again.present(), true)
	same(bodies(again, 50), numbers(0, 50))
	again.drop()
	sender.publish("go/session/a", "more", 2, false)
	again = connect("s-away", about{lasting: true})
	same(again.present(), true)
	afterLast(again, "more")
	again.close()
	clean := connect("s-away", about{})
	same(clean.present(), false)
	clean.close()
	fresh := connect("s-away", about{lasting: true})
	same(fresh.present(), false)
	fresh.close()
	connect("s-away", about{}).close()
}

func shared() {
	one, two := connect("sh-one", about{}), connect("sh-two", about{})
	sender := connect("sh-sender", about{})
	for _, it := range []peer{one, two} {
		it.subscribe("$share/group/go/shared", 1)
	}
	for _, body := range numbers(0, 100) {
		sender.publish("go/shared", body, 1, false)
	}
	var found [2]int
	seen := map[string]bool{}
	for range 100 {
		select {
		case it := <-one.messages():
			seen[it.body] = true
			found[0]++
		case it := <-two.messages():
			seen[it.body] = true
			found[1]++
		case <-time.After(deadline):
			panic("in vain: 100 messages")
		}
	}
	same(len(seen), 100)
	same(found[0] > 0 && found[1] > 0, true)
	two.close()
	for _, body := range numbers(100, 20) {
		sender.publish("go/shared", body, 1, false)
	}
	same(bodies(one, 20), numbers(100, 20))
}

func recovery() {
	lasting := connect("k-lasting", about{lasting: true, back: true})
	lasting.subscribe("go/recovery/#", 2)
	for n, body := range numbers(0, 20) {
		lasting.publish("go/recovery/a", body, byte(n%2+1), false)
	}
	same(bodies(lasting, 20), numbers(0, 20))
	lasting.publish("go/kept-recovery", "kept", 1, true)
	away := connect("k-away", about{lasting: true})
	away.subscribe("go/recovery/#", 1)
	away.close()
	lasting.publish("go/recovery/b", "before", 2, false)
	same(bodies(lasting, 1), "[before]")
	fmt.Println("ready")
	must(bufio.NewReader(os.Stdin).ReadString('\n'))
	for end := time.Now().Add(deadline); !lasting.again(); time.Sleep(10 * time.Millisecond) {
		same(time.Now().Before(end), true)
	}
	lasting.publish("go/recovery/c", "after", 2, false)
	// The server may not have known of the last acknowledgements: what they are of comes again.
	had := append(numbers(0, 20), "before")
	for body := bodies(lasting, 1)[0]; body != "after"; body = bodies(lasting, 1)[0] {
		same(slices.Contains(had, body), true)
	}
	away = connect("k-away", about{lasting: true})
	same(away.present(), true)
	same(bodies(away, 2), "[before after]")
	late := connect("k-late", about{})
	late.subscribe("go/kept-recovery", 1)
	same(next(late.messages(), "what is retained"), message{"go/kept-recovery", "kept", 1, true})
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), 3*deadline)
	defer stop()
	run = ctx
	version, where := os.Args[1], os.Args[2]+":"+os.Args[3]
	if strings.HasSuffix(version, "ws") {
		where = "ws://" + where + "/ws/mqtt"
	} else {
		where = "mqtt://" + where
	}
	speak := map[string]func(string, string, about) peer{"3": three, "5": five}[version[:1]]
	connect = func(id string, its about) peer { return speak(where, id, its) }
	map[string]func(){
		"qos": qos, "retained": retained, "will": will, "session": session, "shared": shared,
		"recovery": recovery, "properties": properties,
	}[os.Args[4]]()
	fmt.Println("done")
}
