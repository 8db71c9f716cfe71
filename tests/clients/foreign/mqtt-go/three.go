package main

import (
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

type peer3 struct {
	client   mqtt.Client
	socket   atomic.Pointer[net.Conn]
	lost     atomic.Bool
	there    bool
	incoming chan message
}

func three(address, id string, its about) peer {
	it := &peer3{incoming: make(chan message, 1000)}
	options := mqtt.NewClientOptions().AddBroker(address).SetClientID(id).
		SetCleanSession(!its.lasting).SetAutoReconnect(its.back).SetMaxReconnectInterval(
		100 * time.Millisecond).SetProtocolVersion(4)
	options.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		it.incoming <- message{m.Topic(), string(m.Payload()), m.Qos(), m.Retained()}
	})
	options.SetOnConnectHandler(func(mqtt.Client) { it.lost.Store(false) })
	options.SetConnectionLostHandler(func(mqtt.Client, error) { it.lost.Store(true) })
	options.SetCustomOpenConnectionFn(func(to *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
		socket, err := dial(to)
		it.socket.Store(&socket)
		return socket, err
	})
	if its.will != "" {
		options.SetWill(its.will, "gone", 1, true)
	}
	it.client = mqtt.NewClient(options)
	connected := it.client.Connect()
	wait(connected)
	it.there = connected.(*mqtt.ConnectToken).SessionPresent()
	return it
}

func dial(to *url.URL) (net.Conn, error) {
	if to.Scheme == "ws" {
		return mqtt.NewWebsocket(to.String(), nil, deadline, http.Header{}, &mqtt.WebsocketOptions{})
	}
	return net.Dial("tcp", to.Host)
}

func wait(token mqtt.Token) {
	if !token.WaitTimeout(deadline) {
		panic("in vain: an acknowledgement")
	}
	check(token.Error())
}

func (it *peer3) present() bool { return it.there }

// This client tells of a session only at its first connection.
func (it *peer3) again() bool { return it.client.IsConnectionOpen() && !it.lost.Load() }

func (it *peer3) subscribe(filter string, qos byte) byte {
	token := it.client.Subscribe(filter, qos, nil)
	wait(token)
	return token.(*mqtt.SubscribeToken).Result()[filter]
}

func (it *peer3) unsubscribe(filter string) { wait(it.client.Unsubscribe(filter)) }

func (it *peer3) publish(topic, body string, qos byte, retained bool) {
	wait(it.client.Publish(topic, qos, retained, body))
}

func (it *peer3) messages() <-chan message { return it.incoming }

func (it *peer3) drop() { check((*it.socket.Load()).Close()) }

func (it *peer3) close() { it.client.Disconnect(1000) }
