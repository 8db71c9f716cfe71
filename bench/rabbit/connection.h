/* One connection to an AMQP 0-9-1 server, with one channel: its frames, made and read by hand. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 300    /* after which a server that says nothing is given up */
#define READ_BYTES 262144 /* of a connection at once; more than a frame has */

enum { METHOD = 1, HEADER = 2, BODY = 3 };

struct frame {
	int type;
	const uint8_t *payload;
	size_t size;
};

struct connection {
	int fd;
	uint8_t *in;
	size_t in_at, in_end;
	/* What it publishes. */
	const uint8_t *ring, *out;
	size_t message_bytes; /* of each in the ring, with its frames */
	size_t out_left;
	long sent, confirmed;
	uint64_t confirmed_to; /* every tag up to here */
	uint8_t *confirms;     /* of each tag: whether it was confirmed by itself */
	/* What it consumes. */
	long got, unacked;
	uint64_t tag; /* the newest delivery's */
};

static const char *server; /* HOST:PORT */

static void give_up(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(1);
}

static void *room(size_t bytes)
{
	void *found = calloc(1, bytes ? bytes : 1);
	if (!found)
		give_up("memory", "there is none left");
	return found;
}

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec * 1e-9;
}

/* Fields: each is written at a place, and says where the next one goes. */

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = value >> 8 * (bytes - 1 - i);
	return at + bytes;
}

static uint64_t number(const uint8_t *at, int bytes)
{
	uint64_t value = 0;
	for (int i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static uint8_t *put_short_string(uint8_t *at, const char *text)
{
	size_t size = strlen(text);
	at = put(at, size, 1);
	memcpy(at, text, size);
	return at + size;
}

static uint8_t *put_long_string(uint8_t *at, const void *text, size_t size)
{
	at = put(at, size, 4);
	memcpy(at, text, size);
	return at + size;
}

/* A table with the entries written by then; ``size_at`` is where its size goes. */
static void end_table(uint8_t *size_at, const uint8_t *end)
{
	put(size_at, end - size_at - 4, 4);
}

static uint8_t *put_frame(uint8_t *at, int type, int channel, const uint8_t *payload, size_t size)
{
	at = put(put(put(at, type, 1), channel, 2), size, 4);
	memcpy(at, payload, size);
	return put(at + size, 0xce, 1);
}

/* Bytes in and out */

static void wait_for(int fd, short events)
{
	struct pollfd one = {fd, events, 0};
	int found = poll(&one, 1, PATIENCE_S * 1000);
	if (found == 0)
		give_up(server, "it says nothing");
}

static void write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t written = send(fd, data, size, MSG_NOSIGNAL);
		if (written < 0 && errno == EAGAIN)
			wait_for(fd, POLLOUT);
		else if (written < 0 && errno != EINTR)
			give_up("send", strerror(errno));
		else if (written > 0) {
			data += written;
			size -= written;
		}
	}
}

/* Whether anything came. */
static int read_some(struct connection *it)
{
	if (it->in_at == it->in_end) {
		it->in_at = it->in_end = 0;
	} else if (it->in_at) {
		memmove(it->in, it->in + it->in_at, it->in_end - it->in_at);
		it->in_end -= it->in_at;
		it->in_at = 0;
	}
	ssize_t got = recv(it->fd, it->in + it->in_end, READ_BYTES - it->in_end, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0)
		give_up(server, got ? strerror(errno) : "it closed the connection");
	it->in_end += got;
	return 1;
}

static void check_not_closed(const struct frame *it)
{
	uint32_t method = number(it->payload, 4);
	if (method == (10u << 16 | 50) || method == (20u << 16 | 40)) {
		fprintf(stderr, "load: %s closed: %d %.*s\n", server, (int)number(it->payload + 4, 2),
		        it->payload[6], it->payload + 7);
		exit(1);
	}
}

/* The next frame that is here as a whole. */
static int next_frame(struct connection *it, struct frame *found)
{
	const uint8_t *at = it->in + it->in_at;
	size_t left = it->in_end - it->in_at;
	if (left < 8)
		return 0;
	size_t size = number(at + 3, 4);
	if (left < size + 8)
		return 0;
	if (at[7 + size] != 0xce)
		give_up(server, "a frame has no end");
	*found = (struct frame){at[0], at + 7, size};
	it->in_at += size + 8;
	if (found->type == METHOD)
		check_not_closed(found);
	return 1;
}

/* Methods */

static void call(struct connection *it, int channel, int class, int method, const uint8_t *rest, size_t size)
{
	uint8_t payload[4096], framed[4200];
	memcpy(put(put(payload, class, 2), method, 2), rest, size);
	write_all(it->fd, framed, put_frame(framed, METHOD, channel, payload, size + 4) - framed);
}

static struct frame answer(struct connection *it, int class, int method)
{
	struct frame found;
	uint32_t wanted = (uint32_t)class << 16 | method;
	for (;;) {
		while (!next_frame(it, &found)) {
			wait_for(it->fd, POLLIN);
			read_some(it);
		}
		if (found.type == METHOD && number(found.payload, 4) == wanted)
			return found;
	}
}

static int connected_socket(void)
{
	const char *colon = strrchr(server, ':');
	struct sockaddr_in at = {.sin_family = AF_INET};
	char host[64];
	if (!colon || (size_t)(colon - server) >= sizeof host)
		give_up(server, "expected HOST:PORT");
	snprintf(host, sizeof host, "%.*s", (int)(colon - server), server);
	at.sin_port = htons(atoi(colon + 1));
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1)
		give_up(server, "expected an address of IPv4");
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	if (fd < 0)
		give_up("socket", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (struct sockaddr *)&at, sizeof at)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Wait until the server greets, and look for it each millisecond. */
static void wait_for_server(void)
{
	struct timespec pause = {0, 1000000};
	for (double patience = now() + PATIENCE_S; now() < patience; nanosleep(&pause, NULL)) {
		char greeted;
		int fd = connected_socket();
		if (fd < 0)
			continue;
		int here = send(fd, "AMQP\0\0\x09\x01", 8, MSG_NOSIGNAL) == 8 && recv(fd, &greeted, 1, 0) == 1;
		close(fd);
		if (here)
			return;
	}
	give_up(server, "nobody listens there");
}

static void open_connection(struct connection *it)
{
	static const char *const able[] = {"publisher_confirms", "basic.nack", "consumer_cancel_notify"};
	uint8_t data[512], *at = data + 4, *able_at;
	it->in = room(READ_BYTES);
	it->fd = connected_socket();
	if (it->fd < 0)
		give_up(server, strerror(errno));
	write_all(it->fd, (const uint8_t *)"AMQP\0\0\x09\x01", 8);
	answer(it, 10, 10);
	at = put_short_string(at, "capabilities");
	at = put(at, 'F', 1);
	able_at = at;
	at += 4;
	for (size_t i = 0; i < sizeof able / sizeof *able; i++)
		at = put(put(put_short_string(at, able[i]), 't', 1), 1, 1);
	end_table(able_at, at);
	end_table(data, at);
	at = put_long_string(put_short_string(at, "PLAIN"), "\0guest\0guest", 12);
	at = put_short_string(at, "en_US");
	call(it, 0, 10, 11, data, at - data);
	struct frame tune = answer(it, 10, 30);
	at = put(put(put(data, number(tune.payload + 4, 2), 2), 131072, 4), 0, 2);
	call(it, 0, 10, 31, data, at - data);
	at = put(put_short_string(put_short_string(data, "/"), ""), 0, 1);
	call(it, 0, 10, 40, data, at - data);
	answer(it, 10, 41);
	call(it, 1, 20, 10, (const uint8_t *)"", 1);
	answer(it, 20, 11);
	fcntl(it->fd, F_SETFL, fcntl(it->fd, F_GETFL) | O_NONBLOCK);
}
