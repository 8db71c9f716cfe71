package main

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

type peer5 struct {
	manager  *autopaho.ConnectionManager
	there    atomic.Bool
	incoming chan message
	whole    chan *paho.Publish // the same with their properties
}

func five(address, id string, its about) peer {
	it := &peer5{incoming: make(chan message, 1000), whole: make(chan *paho.Publish, 1000)}
	config := autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{must(url.Parse(address))},
		KeepAlive:                     30,
		CleanStartOnInitialConnection: !its.lasting,
		ReconnectBackoff:              func(int) time.Duration { return 100 * time.Millisecond },
		OnConnectionUp: func(_ *autopaho.ConnectionManager, ack *paho.Connack) {
			it.there.Store(ack.SessionPresent)
		},
		OnConnectionDown: func() bool { it.there.Store(false); return its.back },
		ClientConfig: paho.ClientConfig{
			ClientID: id,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){
				func(got paho.PublishReceived) (bool, error) {
					p := got.Packet
					it.incoming <- message{p.Topic, string(p.Payload), p.QoS, p.Retain}
					it.whole <- p
					return true, nil
				}},
		},
	}
	if its.lasting {
		config.SessionExpiryInterval = 300
	}
	if its.will != "" {
		config.WillMessage = &paho.WillMessage{
			Topic: its.will, Payload: []byte("gone"), QoS: 1, Retain: true}
	}
	it.manager = must(autopaho.NewConnection(run, config))
	check(it.manager.AwaitConnection(run))
	return it
}

func (it *peer5) present() bool { return it.there.Load() }

func (it *peer5) again() bool { return it.there.Load() }

func (it *peer5) subscribe(filter string, qos byte) byte {
	ack := must(it.manager.Subscribe(run, &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: qos}}}))
	return ack.Reasons[0]
}

func (it *peer5) unsubscribe(filter string) {
	must(it.manager.Unsubscribe(run, &paho.Unsubscribe{Topics: []string{filter}}))
}

func (it *peer5) publish(topic, body string, qos byte, retained bool) {
	must(it.manager.Publish(run, &paho.Publish{
		Topic: topic, Payload: []byte(body), QoS: qos, Retain: retained}))
}

func (it *peer5) messages() <-chan message { return it.incoming }

func (it *peer5) drop() { it.manager.TerminateConnectionForTest() }

func (it *peer5) close() { check(it.manager.Disconnect(run)) }

func number[T any](value T) *T { return &value }

// What version 5 has beside: a question and its answer, what is said beside a message.
func properties() {
	asker, answerer := connect("p-asker", about{}).(*peer5), connect("p-answerer", about{}).(*peer5)
	same(answerer.subscribe("go/ask", 1), 1)
	must(asker.manager.Subscribe(run, &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: "go/answer/#", QoS: 1, NoLocal: true}},
		Properties:    &paho.SubscribeProperties{SubscriptionIdentifier: number(77)}}))
	for n := range 10 {
		must(asker.manager.Publish(run, &paho.Publish{
			Topic: "go/ask", QoS: byte(n % 3), Payload: []byte("ask"),
			Properties: &paho.PublishProperties{
				ResponseTopic: "go/answer/mine", CorrelationData: []byte{0, byte(n)},
				ContentType: "text/plain", PayloadFormat: number(byte(1)),
				MessageExpiry: number(uint32(100)), User: paho.UserProperties{
					{Key: "a", Value: "1"}, {Key: "a", Value: "2"}}}}))
		asked := next(answerer.whole, "what is asked").Properties
		same(asked.ResponseTopic+asked.ContentType, "go/answer/minetext/plain")
		same(asked.User, "[{a 1} {a 2}]")
		same(*asked.PayloadFormat, 1)
		same(*asked.MessageExpiry > 90, true)
		must(answerer.manager.Publish(run, &paho.Publish{
			Topic: asked.ResponseTopic, QoS: 1, Payload: []byte("answer"),
			Properties: &paho.PublishProperties{CorrelationData: asked.CorrelationData}}))
		answer := next(asker.whole, "an answer").Properties
		same(fmt.Sprint(answer.CorrelationData, *answer.SubscriptionIdentifier),
			fmt.Sprint([]byte{0, byte(n)}, 77))
	}
	ack := must(asker.manager.Publish(run, &paho.Publish{Topic: "go/nobody", QoS: 1}))
	same(ack.ReasonCode, 0x10) // no subscriber
}
