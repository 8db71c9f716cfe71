/* The load of clients on an AMQP 0-9-1 server, its frames made and read here, so that the client is
 * not the limit.
 *
 *     load WHAT ADDRESS NAME [OPTION=NUMBER ...]
 *
 * Prints what it measured as one line of JSON. load.py says what WHAT and the options mean. All
 * connections are served by one thread, which waits in poll(2).
 */

#define _GNU_SOURCE /* ppoll */
#include "connection.h"
#include <sys/prctl.h>
#include <sys/resource.h>

#define WRITTEN_AT_ONCE 32 /* messages that a publisher gathers before it writes */
#define RING 1000          /* messages made beforehand; more if there are more keys */
#define PARTS 10           /* that a million acknowledgements are timed in */
#define NAME_BYTES 128

enum { NO_EXCHANGE = 0, FANOUT = 1, TOPIC = 2 };

struct options {
	const char *name;
	long bytes, count, warm, window, persistent, durable, quorum, prefetch, ack_every;
	long queues, exchange, bindings, per_s, ordered, keys, consumers;
};

static struct options to = {
	.bytes = 100, .count = 1000, .window = 1000, .persistent = 1, .durable = 1, .prefetch = 500,
	.ack_every = 50, .queues = 1, .per_s = 200, .consumers = 1,
};
static long nacked;
static long got; /* by all consumers */

static double cpu_seconds(void)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static const char *queue_name(long nth)
{
	static char name[NAME_BYTES];
	snprintf(name, sizeof name, "%s-%ld", to.name, nth);
	return name;
}

/* How many messages are ready in it. */
static long declare_queue(struct connection *it, long nth, int passive)
{
	uint8_t data[512], *at = put_short_string(put(data, 0, 2), queue_name(nth)), *table;
	at = put(at, passive | to.durable << 1, 1);
	table = at;
	at += 4;
	if (to.quorum)
		at = put_long_string(put(put_short_string(at, "x-queue-type"), 'S', 1), "quorum", 6);
	if (to.ordered)
		at = put_long_string(put(put_short_string(at, "x-ordering-key"), 'S', 1), "routing-key", 11);
	end_table(table, at);
	call(it, 1, 50, 10, data, at - data);
	struct frame found = answer(it, 50, 11);
	return number(found.payload + 5 + found.payload[4], 4);
}

static void declare_exchange(struct connection *it)
{
	uint8_t data[512], *at = put_short_string(put(data, 0, 2), to.name);
	at = put_short_string(at, to.exchange == TOPIC ? "topic" : "fanout");
	at = put(put(at, to.durable << 1, 1), 0, 4);
	call(it, 1, 40, 10, data, at - data);
	answer(it, 40, 11);
}

static void bind_queue(struct connection *it, long nth, const char *pattern)
{
	uint8_t data[512], *at = put_short_string(put(data, 0, 2), queue_name(nth));
	at = put_short_string(put_short_string(at, to.name), pattern);
	at = put(put(at, 0, 1), 0, 4);
	call(it, 1, 50, 20, data, at - data);
	answer(it, 50, 21);
}

/* What is bound to a topic exchange: of each queue one pattern for each key, in one of three forms. */
static void bind_topic(struct connection *it)
{
	static const char *const forms[] = {"place.%03ld.#", "place.%03ld.*", "*.%03ld.stock"};
	char pattern[NAME_BYTES];
	for (long nth = 0; nth < to.bindings; nth++) {
		long key = nth / to.queues;
		snprintf(pattern, sizeof pattern, forms[key % 3], key);
		bind_queue(it, nth % to.queues, pattern);
	}
}

static void set_prefetch(struct connection *it, long count)
{
	uint8_t data[7];
	put(put(put(data, 0, 4), count, 2), 0, 1);
	call(it, 1, 60, 10, data, sizeof data);
	answer(it, 60, 11);
}

static void begin_to_consume(struct connection *it, long queue)
{
	uint8_t data[512], *at = put_short_string(put(data, 0, 2), queue_name(queue));
	if (to.ack_every)
		set_prefetch(it, to.prefetch);
	at = put(put(put_short_string(at, "c"), to.ack_every ? 0 : 2, 1), 0, 4);
	call(it, 1, 60, 20, data, at - data);
}

/* Messages, made once: with the keys in turn for a topic exchange, else all alike. */

static uint8_t *put_message(uint8_t *at, long queue, long key)
{
	uint8_t payload[512], *end = put(put(put(payload, 60, 2), 40, 2), 0, 2);
	char text[NAME_BYTES];
	snprintf(text, sizeof text, to.keys ? "place.%06ld.stock" : "place.%03ld.stock", key);
	end = put_short_string(end, to.exchange ? to.name : "");
	end = put_short_string(end, to.exchange ? text : queue_name(queue));
	at = put_frame(at, METHOD, 1, payload, put(end, 0, 1) - payload);
	end = put(put(put(payload, 60, 2), 0, 2), to.bytes, 8);
	end = to.persistent ? put(put(end, 0x1000, 2), 2, 1) : put(end, 0, 2);
	at = put_frame(at, HEADER, 1, payload, end - payload);
	at = put(put(put(at, BODY, 1), 1, 2), to.bytes, 4);
	for (long i = 0; i < to.bytes; i++)
		*at++ = 'a' + i % 26;
	return put(at, 0xce, 1);
}

static long ring_messages(void)
{
	return to.keys > RING ? to.keys : RING;
}

static void make_ring(struct connection *it, long queue)
{
	long count = ring_messages();
	uint8_t *ring = room(count * (to.bytes + 512 + 2 * NAME_BYTES)), *at = ring;
	long keys = to.keys ? to.keys : to.exchange == TOPIC ? to.bindings / to.queues : 1;
	for (long nth = 0; nth < count; nth++)
		at = put_message(at, queue, nth * 7919 % keys);
	it->ring = ring;
	it->message_bytes = (at - ring) / count;
	if (it->message_bytes * count != (size_t)(at - ring))
		give_up("ring", "its messages are of different sizes");
}

static void begin_to_publish(struct connection *it, long queue)
{
	make_ring(it, queue);
	if (!to.window)
		return;
	it->confirms = room(to.count + to.warm + 1);
	call(it, 1, 85, 10, (const uint8_t *)"", 1);
	answer(it, 85, 11);
}

/* Publishing */

static long least(long one, long other)
{
	return one < other ? one : other;
}

/* As many as the window lets through, once a good number may go. */
static void publish_more(struct connection *it, long all)
{
	while (!it->out_left && it->sent < all) {
		long many = least(WRITTEN_AT_ONCE, all - it->sent);
		many = least(many, ring_messages() - it->sent % ring_messages());
		if (to.window && it->sent + many - it->confirmed > to.window)
			return;
		it->out = it->ring + it->sent % ring_messages() * it->message_bytes;
		it->out_left = many * it->message_bytes;
		it->sent += many;
		ssize_t written = send(it->fd, it->out, it->out_left, MSG_NOSIGNAL);
		if (written < 0 && errno != EAGAIN)
			give_up("send", strerror(errno));
		if (written > 0) {
			it->out += written;
			it->out_left -= written;
		}
	}
}

static void write_on(struct connection *it)
{
	ssize_t written = send(it->fd, it->out, it->out_left, MSG_NOSIGNAL);
	if (written > 0) {
		it->out += written;
		it->out_left -= written;
	}
}

static void note_confirmed(struct connection *it, const struct frame *frame)
{
	uint64_t tag = number(frame->payload + 4, 8);
	int multiple = frame->payload[12] & 1;
	nacked += frame->payload[3] == 120;
	for (uint64_t one = multiple ? it->confirmed_to + 1 : tag; one <= tag; one++)
		if (!it->confirms[one]) {
			it->confirms[one] = 1;
			it->confirmed++;
		}
	if (multiple && tag > it->confirmed_to)
		it->confirmed_to = tag;
}

/* Consuming */

static void ack(struct connection *it, uint64_t tag, int multiple)
{
	uint8_t data[9];
	put(put(data, tag, 8), multiple, 1);
	call(it, 1, 60, 80, data, sizeof data);
}

/* Acks of one read travel together: a client that wrote each by itself would be the limit. */
static uint8_t ack_frames[READ_BYTES];

static void take_deliveries(struct connection *it, long all)
{
	struct frame frame;
	uint8_t *end = ack_frames;
	while (next_frame(it, &frame)) {
		if (frame.type == METHOD && number(frame.payload, 4) == (60u << 16 | 60))
			it->tag = number(frame.payload + 5 + frame.payload[4], 8);
		if (frame.type != BODY)
			continue;
		it->got++;
		got++;
		if (!to.ack_every || (++it->unacked < to.ack_every && it->got != all))
			continue;
		uint8_t method[13];
		put(put(put(put(method, 60, 2), 80, 2), it->tag, 8), to.ack_every > 1, 1);
		end = put_frame(end, METHOD, 1, method, sizeof method);
		it->unacked = 0;
	}
	write_all(it->fd, ack_frames, end - ack_frames);
}

static void take_confirms(struct connection *it)
{
	struct frame frame;
	while (next_frame(it, &frame))
		if (frame.type == METHOD && frame.payload[1] == 60 &&
		    (frame.payload[3] == 80 || frame.payload[3] == 120))
			note_confirmed(it, &frame);
}

/* Serves all until every publisher is confirmed and every consumer has everything. */
static void run(struct connection *all, long publishers, long consumers)
{
	long count = publishers + consumers, busy = count;
	struct pollfd *polled = room(count * sizeof *polled);
	for (long i = 0; i < count; i++)
		polled[i] = (struct pollfd){all[i].fd, POLLIN, 0};
	for (long i = 0; i < publishers; i++)
		publish_more(&all[i], to.count);
	while (busy) {
		for (long i = 0; i < publishers; i++)
			polled[i].events = POLLIN | (all[i].out_left || (!to.window && all[i].sent < to.count) ? POLLOUT : 0);
		if (poll(polled, count, PATIENCE_S * 1000) == 0)
			give_up(server, "it says nothing");
		busy = 0;
		for (long i = 0; i < count; i++) {
			struct connection *it = &all[i];
			if (polled[i].revents & ~POLLOUT && read_some(it)) {
				if (i < publishers)
					take_confirms(it);
				else
					take_deliveries(it, to.count);
			}
			if (i >= publishers) {
				busy += it->got < to.count;
				continue;
			}
			if (it->out_left)
				write_on(it);
			publish_more(it, to.count);
			busy += it->sent < to.count || it->out_left || (to.window && it->confirmed < to.count);
		}
	}
	free(polled);
}

static void say(double messages, double seconds, double cpu)
{
	printf("{\"seconds\": %.6f, \"messages\": %.0f, \"bytes\": %.0f, \"nacked\": %ld, \"client_cpu\": %.3f}\n",
	       seconds, messages, messages * to.bytes, nacked, cpu_seconds() - cpu);
}

/* What it does */

static void declare(void)
{
	struct connection it = {0};
	open_connection(&it);
	for (long nth = 0; nth < to.queues; nth++)
		declare_queue(&it, nth, 0);
	if (to.exchange)
		declare_exchange(&it);
	for (long nth = 0; to.exchange == FANOUT && nth < to.queues; nth++)
		bind_queue(&it, nth, "");
	if (to.exchange == TOPIC)
		bind_topic(&it);
	printf("{}\n");
}

static void delete(void)
{
	struct connection it = {0};
	uint8_t data[512], *at;
	open_connection(&it);
	for (long nth = 0; nth < to.queues; nth++) {
		at = put(put_short_string(put(data, 0, 2), queue_name(nth)), 0, 1);
		call(&it, 1, 50, 40, data, at - data);
		answer(&it, 50, 41);
	}
	if (to.exchange) {
		at = put(put_short_string(put(data, 0, 2), to.name), 0, 1);
		call(&it, 1, 40, 20, data, at - data);
		answer(&it, 40, 21);
	}
	printf("{}\n");
}

static void count(void)
{
	struct connection it = {0};
	long ready = 0;
	open_connection(&it);
	for (long nth = 0; nth < to.queues; nth++)
		ready += declare_queue(&it, nth, 1);
	printf("{\"ready\": %ld}\n", ready);
}

static void publish(void)
{
	struct connection it = {0};
	open_connection(&it);
	begin_to_publish(&it, 0);
	double cpu = cpu_seconds(), begun = now();
	run(&it, 1, 0);
	if (!to.window)
		declare_queue(&it, 0, 1); /* answered when all before it was taken */
	say(to.count, now() - begun, cpu);
}

/* All of the first queue, by several. */
static void share(void)
{
	struct connection *all = room(to.consumers * sizeof *all);
	struct pollfd *polled = room(to.consumers * sizeof *polled);
	for (long i = 0; i < to.consumers; i++) {
		open_connection(&all[i]);
		polled[i] = (struct pollfd){all[i].fd, POLLIN, 0};
	}
	double cpu = cpu_seconds(), begun = now();
	for (long i = 0; i < to.consumers; i++)
		begin_to_consume(&all[i], 0);
	while (got < to.count) {
		if (poll(polled, to.consumers, PATIENCE_S * 1000) == 0)
			give_up(server, "it says nothing");
		for (long i = 0; i < to.consumers; i++)
			if (polled[i].revents && read_some(&all[i]))
				take_deliveries(&all[i], to.count);
	}
	say(to.count, now() - begun, cpu);
}

static void consume(void)
{
	struct connection it = {0};
	open_connection(&it);
	double cpu = cpu_seconds(), begun = now();
	begin_to_consume(&it, 0);
	run(&it, 0, 1);
	if (to.ack_every)
		set_prefetch(&it, to.prefetch); /* answered when the acks were taken */
	say(to.count, now() - begun, cpu);
}

/* On each queue one publisher and one consumer. */
static void both(void)
{
	struct connection *all = room(2 * to.queues * sizeof *all);
	for (long nth = 0; nth < to.queues; nth++) {
		open_connection(&all[nth]);
		begin_to_publish(&all[nth], nth);
		open_connection(&all[to.queues + nth]);
		begin_to_consume(&all[to.queues + nth], nth);
		answer(&all[to.queues + nth], 60, 21);
	}
	double cpu = cpu_seconds(), begun = now();
	run(all, to.queues, to.queues);
	double took = now() - begun;
	for (long nth = 0; to.ack_every && nth < to.queues; nth++)
		set_prefetch(&all[to.queues + nth], to.prefetch); /* answered when the acks were taken */
	say((double)to.count * to.queues, took, cpu);
}

/* Latency: from when a message was sent; the sender waits for no answer. */

static int by_size(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;
	return (a > b) - (a < b);
}

static void wait_until(struct pollfd *polled, double due)
{
	double left = due - now();
	struct timespec pause = {(time_t)left, (long)((left - (time_t)left) * 1e9)};
	if (left > 0)
		ppoll(polled, 2, &pause, NULL);
	else
		poll(polled, 2, 0);
}

static void latency(void)
{
	struct connection publisher = {0}, consumer = {0};
	long all = to.warm + to.count, delivered = 0, confirmed = 0;
	double *sent = room((all + 1) * sizeof *sent), *delays = room(all * sizeof *delays);
	double *confirms = room(all * sizeof *confirms);
	open_connection(&publisher);
	open_connection(&consumer);
	begin_to_publish(&publisher, 0);
	begin_to_consume(&consumer, 0);
	answer(&consumer, 60, 21);
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); /* ns: 50,000 by default, a tenth of what is measured */
	struct pollfd polled[2] = {{publisher.fd, POLLIN, 0}, {consumer.fd, POLLIN, 0}};
	double begun = now(), patience = begun + all / (double)to.per_s + PATIENCE_S;
	while (delivered < all || confirmed < all) {
		double due = publisher.sent < all ? begun + publisher.sent / (double)to.per_s : now() + 1;
		if (now() > patience)
			give_up("latency", "not everything came");
		wait_until(polled, due);
		struct frame frame;
		double at = now();
		if (polled[1].revents && read_some(&consumer))
			while (next_frame(&consumer, &frame)) {
				if (frame.type == METHOD && number(frame.payload, 4) == (60u << 16 | 60))
					consumer.tag = number(frame.payload + 5 + frame.payload[4], 8);
				if (frame.type != BODY)
					continue;
				delays[delivered] = at - sent[delivered];
				delivered++;
				ack(&consumer, consumer.tag, 0);
			}
		if (polled[0].revents && read_some(&publisher)) {
			take_confirms(&publisher);
			for (; confirmed < all && (publisher.confirms[confirmed + 1]); confirmed++)
				confirms[confirmed] = at - sent[confirmed];
		}
		if (publisher.sent < all && now() >= due) {
			sent[publisher.sent] = now();
			write_all(publisher.fd, publisher.ring, publisher.message_bytes);
			publisher.sent++;
		}
	}
	delays += to.warm;
	confirms += to.warm;
	qsort(delays, to.count, sizeof *delays, by_size);
	qsort(confirms, to.count, sizeof *confirms, by_size);
	printf("{\"deliver_p50_us\": %.1f, \"deliver_p99_us\": %.1f, \"confirm_p50_us\": %.1f, \"confirm_p99_us\": %.1f}\n",
	       delays[to.count / 2] * 1e6, delays[to.count * 99 / 100] * 1e6,
	       confirms[to.count / 2] * 1e6, confirms[to.count * 99 / 100] * 1e6);
}

/* One message in or out of a server that may not be there yet; the clock that all processes share. */

static void first(void)
{
	to.count = 1;
	struct connection it = {0};
	open_connection(&it);
	begin_to_publish(&it, 0);
	run(&it, 1, 0);
	printf("{\"at\": %.6f}\n", now());
}

/* Until it has as many, of which none is acknowledged. */
static void take_and_keep(struct connection *it, long all)
{
	struct frame frame;
	while (it->got < all) {
		wait_for(it->fd, POLLIN);
		read_some(it);
		while (next_frame(it, &frame))
			it->got += frame.type == BODY;
	}
}

/* It stays there: an ack that is not confirmed may be lost when the server is killed next. */
static void first_delivery(void)
{
	to.prefetch = 1;
	struct connection it = {0};
	open_connection(&it);
	begin_to_consume(&it, 0);
	take_and_keep(&it, 1);
	printf("{\"at\": %.6f}\n", now());
}

/* One connection holds the first message while another takes the rest; then the first goes back. */
static void all_but_one(void)
{
	struct connection holder = {0}, it = {0};
	long prefetch = to.prefetch;
	open_connection(&holder);
	to.prefetch = 1;
	begin_to_consume(&holder, 0);
	take_and_keep(&holder, 1);
	to.prefetch = prefetch;
	to.count--;
	open_connection(&it);
	begin_to_consume(&it, 0);
	run(&it, 0, 1);
	set_prefetch(&it, to.prefetch);
	printf("{}\n");
}

/* Gives back whatever comes, until it is ended; at first says that it has begun. */
static void nack_for_ever(void)
{
	struct connection it = {0};
	struct frame frame;
	open_connection(&it);
	begin_to_consume(&it, 0);
	printf("{}\n");
	fflush(stdout);
	for (;;) {
		uint8_t *end = ack_frames;
		wait_for(it.fd, POLLIN);
		read_some(&it);
		while (next_frame(&it, &frame)) {
			if (frame.type != METHOD || number(frame.payload, 4) != (60u << 16 | 60))
				continue;
			uint8_t method[13];
			uint64_t tag = number(frame.payload + 5 + frame.payload[4], 8);
			put(put(put(put(method, 60, 2), 120, 2), tag, 8), 2, 1); /* requeue */
			end = put_frame(end, METHOD, 1, method, sizeof method);
		}
		write_all(it.fd, ack_frames, end - ack_frames);
	}
}

/* Everything out at once, then acknowledged one by one in a random order, the same each time. */
static void unacked(void)
{
	struct connection it = {0};
	double parts[PARTS];
	uint64_t *tags = room(to.count * sizeof *tags), state = 1;
	open_connection(&it);
	to.prefetch = 0; /* no bound */
	begin_to_consume(&it, 0);
	take_and_keep(&it, to.count);
	for (long i = 0; i < to.count; i++)
		tags[i] = i + 1; /* as deliveries of a channel are numbered */
	for (long i = to.count - 1; i > 0; i--) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		long other = (state >> 33) % (i + 1);
		uint64_t kept = tags[i];
		tags[i] = tags[other];
		tags[other] = kept;
	}
	for (long part = 0; part < PARTS; part++) {
		double begun = now();
		uint8_t *end = ack_frames;
		for (long i = to.count * part / PARTS; i < to.count * (part + 1) / PARTS; i++) {
			uint8_t method[13];
			put(put(put(put(method, 60, 2), 80, 2), tags[i], 8), 0, 1);
			end = put_frame(end, METHOD, 1, method, sizeof method);
			if (end > ack_frames + sizeof ack_frames / 4) {
				write_all(it.fd, ack_frames, end - ack_frames);
				end = ack_frames;
			}
		}
		write_all(it.fd, ack_frames, end - ack_frames);
		set_prefetch(&it, 0); /* answered when the acks were taken */
		parts[part] = (now() - begun) * 1e6 / (to.count / PARTS);
	}
	printf("{\"first_us\": %.3f, \"middle_us\": %.3f, \"last_us\": %.3f}\n", parts[0], parts[PARTS / 2],
	       parts[PARTS - 1]);
}

static void read_options(int count, char **given)
{
	struct {
		const char *name;
		long *value;
	} known[] = {
		{"bytes", &to.bytes}, {"count", &to.count}, {"warm", &to.warm}, {"window", &to.window},
		{"persistent", &to.persistent}, {"durable", &to.durable}, {"quorum", &to.quorum},
		{"prefetch", &to.prefetch}, {"ack_every", &to.ack_every}, {"queues", &to.queues},
		{"exchange", &to.exchange}, {"bindings", &to.bindings}, {"per_s", &to.per_s},
		{"ordered", &to.ordered}, {"keys", &to.keys}, {"consumers", &to.consumers},
	};
	for (int i = 0; i < count; i++) {
		size_t length = strcspn(given[i], "=");
		int found = 0;
		for (size_t k = 0; k < sizeof known / sizeof *known; k++)
			if (strlen(known[k].name) == length && !strncmp(known[k].name, given[i], length)) {
				*known[k].value = atol(given[i] + length + 1);
				found = 1;
			}
		if (!found)
			give_up(given[i], "no such option");
	}
}

int main(int given, char **words)
{
	static const struct {
		const char *name;
		void (*act)(void);
	} acts[] = {
		{"declare", declare}, {"delete", delete}, {"count", count}, {"publish", publish},
		{"consume", consume}, {"share", share}, {"both", both}, {"latency", latency}, {"first", first},
		{"first_delivery", first_delivery}, {"unacked", unacked},
		{"all_but_one", all_but_one}, {"nack_for_ever", nack_for_ever},
	};
	if (given < 4)
		give_up("usage", "load WHAT ADDRESS NAME [OPTION=NUMBER ...]");
	server = words[2];
	to.name = words[3];
	if (strlen(to.name) > NAME_BYTES / 2)
		give_up(to.name, "too long a name");
	read_options(given - 4, words + 4);
	if (to.bytes < 1 || to.bytes > 100000)
		give_up("bytes", "expected a body of one frame");
	if (!strncmp(words[1], "first", 5)) { /* whoever reads this starts the server now */
		printf("looking\n");
		fflush(stdout);
	}
	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
		if (!strcmp(words[1], acts[i].name)) {
			wait_for_server();
			acts[i].act();
			return 0;
		}
	give_up(words[1], "no such load");
}
