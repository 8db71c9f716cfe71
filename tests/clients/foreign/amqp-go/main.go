// Command client does one exercise with a broker: client HOST PORT EXERCISE.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const deadline = 30 * time.Second

var url string

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

func open() (*amqp.Connection, *amqp.Channel) {
	connection := must(amqp.Dial(url))
	return connection, must(connection.Channel())
}

func queue(ch *amqp.Channel, name string, arguments amqp.Table) {
	must(ch.QueueDeclare(name, true, false, false, false, arguments))
}

func publish(ch *amqp.Channel, exchange, key, body string, message amqp.Publishing) {
	message.Body = []byte(body)
	message.DeliveryMode = amqp.Persistent
	check(ch.PublishWithContext(context.Background(), exchange, key, false, false, message))
}

func confirmed(ch *amqp.Channel, exchange, key, body string, priority uint8) {
	message := amqp.Publishing{
		Body: []byte(body), DeliveryMode: amqp.Persistent, Priority: priority}
	sent := must(ch.PublishWithDeferredConfirmWithContext(
		context.Background(), exchange, key, false, false, message))
	ctx, stop := context.WithTimeout(context.Background(), deadline)
	defer stop()
	same(must(sent.WaitContext(ctx)), true)
}

func bodies(from <-chan amqp.Delivery, count int) []string {
	var found []string
	for range count {
		it := next(from, "a delivery")
		found = append(found, string(it.Body))
		check(it.Ack(false))
	}
	return found
}

func consume(ch *amqp.Channel, name string) <-chan amqp.Delivery {
	return must(ch.Consume(name, "", false, false, false, false, nil))
}

func confirms() {
	_, ch := open()
	check(ch.ExchangeDeclare("go.events", "topic", true, false, false, false, nil))
	queue(ch, "go.mail", nil)
	check(ch.QueueBind("go.mail", "mail.#", "go.events", false, nil))
	check(ch.Confirm(false))
	for n := range 100 {
		confirmed(ch, "go.events", "mail.new", fmt.Sprint(n), 0)
	}
	found := bodies(consume(ch, "go.mail"), 100)
	same(found[0]+found[99], "099")
}

func returned() {
	_, ch := open()
	check(ch.Confirm(false))
	back := ch.NotifyReturn(make(chan amqp.Return, 1))
	acked := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	check(ch.PublishWithContext(context.Background(), "", "go.nowhere", true, false,
		amqp.Publishing{Body: []byte("x")}))
	it := next(back, "a return")
	same(fmt.Sprint(it.ReplyCode, it.ReplyText, string(it.Body)), "312NO_ROUTEx")
	same(next(acked, "a confirm").Ack, true)
}

func prefetch() {
	_, ch := open()
	queue(ch, "go.few", nil)
	check(ch.Qos(2, 0, false))
	from := consume(ch, "go.few")
	for n := range 5 {
		publish(ch, "", "go.few", fmt.Sprint(n), amqp.Publishing{})
	}
	one, two := next(from, "0"), next(from, "1")
	same(string(one.Body)+string(two.Body), "01")
	same(must(ch.QueueDeclarePassive("go.few", true, false, false, false, nil)).Messages, 3)
	check(one.Nack(false, true))
	again := next(from, "0 again")
	same(fmt.Sprint(string(again.Body), again.Redelivered), "0true")
	check(two.Ack(false))
	check(again.Reject(false))
	same(bodies(from, 3), []string{"2", "3", "4"})
}

func deadLetter() {
	_, ch := open()
	queue(ch, "go.dead", nil)
	queue(ch, "go.work", amqp.Table{
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "go.dead"})
	publish(ch, "", "go.work", "poison", amqp.Publishing{Headers: amqp.Table{"n": int32(5)}})
	check(next(consume(ch, "go.work"), "poison").Nack(false, false))
	it := next(consume(ch, "go.dead"), "a dead letter")
	death := it.Headers["x-death"].([]any)[0].(amqp.Table)
	same([]any{death["queue"], death["reason"], death["count"], it.Headers["n"]},
		"[go.work rejected 1 5]")
}

func priorities() {
	_, ch := open()
	queue(ch, "go.ranks", amqp.Table{"x-max-priority": int32(5)})
	check(ch.Confirm(false))
	for _, it := range []uint8{1, 5, 0, 9, 3} {
		confirmed(ch, "", "go.ranks", fmt.Sprint(it), it)
	}
	same(bodies(consume(ch, "go.ranks"), 5), []string{"5", "9", "3", "1", "0"})
}

func transactions() {
	_, ch := open()
	queue(ch, "go.tx", nil)
	check(ch.Tx())
	publish(ch, "", "go.tx", "1", amqp.Publishing{})
	check(ch.TxRollback())
	publish(ch, "", "go.tx", "2", amqp.Publishing{})
	check(ch.TxCommit())
	it, there, err := ch.Get("go.tx", false)
	check(err)
	same(fmt.Sprint(there, string(it.Body)), "true2")
	check(it.Ack(false))
	check(ch.TxCommit())
	same(must(ch.QueueDeclarePassive("go.tx", true, false, false, false, nil)).Messages, 0)
}

func replyTo() {
	connection, ch := open()
	queue(ch, "go.rpc", nil)
	answers := must(ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil))
	server := must(connection.Channel())
	publish(ch, "", "go.rpc", "hello",
		amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "7"})
	asked := next(consume(server, "go.rpc"), "a request")
	check(asked.Ack(false))
	publish(server, "", asked.ReplyTo, strings.ToUpper(string(asked.Body)),
		amqp.Publishing{CorrelationId: asked.CorrelationId})
	it := next(answers, "a reply")
	same(string(it.Body)+it.CorrelationId, "HELLO7")
}

func passive() {
	connection, ch := open()
	_, err := ch.QueueDeclarePassive("go.no", true, false, false, false, nil)
	var said *amqp.Error
	same(errors.As(err, &said), true)
	same(fmt.Sprint(said.Code, said.Reason), "404NOT_FOUND - no queue 'go.no' in vhost '/'")
	ch = must(connection.Channel())
	queue(ch, "go.there", nil)
	_, err = ch.QueueDeclare("go.there", false, false, false, false, nil)
	same(errors.As(err, &said), true)
	same(said.Code, 406)
	_, err = amqp.Dial(strings.Replace(url, "guest:guest", "guest:wrong", 1))
	same(errors.As(err, &said), true)
	same(said.Code, 403)
}

// recovery: the server is killed between two lines of input; connecting again is the program's.
func recovery() {
	connection, ch := open()
	queue(ch, "go.kept", nil)
	check(ch.Confirm(false))
	for n := range 20 {
		confirmed(ch, "", "go.kept", fmt.Sprint(n), 0)
	}
	gone := connection.NotifyClose(make(chan *amqp.Error, 1))
	fmt.Println("ready")
	next(gone, "the end of the connection")
	must(bufio.NewReader(os.Stdin).ReadString('\n'))
	_, ch = open()
	found := bodies(consume(ch, "go.kept"), 20)
	same(found[0]+found[19], "019")
}

func main() {
	url = fmt.Sprintf("amqp://guest:guest@%s:%s/", os.Args[1], os.Args[2])
	map[string]func(){
		"confirms": confirms, "returned": returned, "prefetch": prefetch,
		"dead letter": deadLetter, "priorities": priorities, "transactions": transactions,
		"reply to": replyTo, "passive": passive, "recovery": recovery,
	}[os.Args[3]]()
	fmt.Println("done")
}
