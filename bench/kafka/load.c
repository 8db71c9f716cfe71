/* One client's load on a Kafka broker, by librdkafka, so that the client is not the limit.
 *
 *     load create|delete|produce|transact|consume|latency|first ADDRESS TOPIC [NAME=NUMBER ...]
 *
 * Prints what it measured as one line of JSON. load.py says what the numbers mean, and has the
 * same program for machines without a C compiler (load_child.py): what one takes, the other does.
 */

#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TAKEN_AT_ONCE 10000 /* messages out of the consumer's queue */
#define PATIENCE_S 120      /* after which a broker that says nothing is given up */
#define POLL_EVERY 1024     /* messages produced between two looks at what was delivered */
#define WORDS_BYTES 65536   /* that values of words are cut from */

static const char *const CODECS[] = {"none", "gzip", "snappy", "lz4", "zstd"}; /* by Kafka's numbers */

struct options {
	const char *address, *topic;
	long partitions, bytes, count, linger_ms, batch_bytes, bytes_per_s, flush_messages;
	long messages_per_s, warm, acks, mixed, codec;
	long messages, transactions_per_s, aborted, committed;
};

static long delivered, failed; /* by the producer's callback, in the thread that polls */

static void give_up(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(1);
}

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec * 1e-9;
}

static void sleep_until(double when)
{
	struct timespec at = {(time_t)when, (long)((when - (time_t)when) * 1e9)};
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static double cpu_seconds(void)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

/* Wait until the broker listens: librdkafka itself would look once a second. */
static void wait_for_broker(const char *address)
{
	const char *colon = strrchr(address, ':');
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (!colon)
		give_up(address, "expected 127.0.0.1:PORT");
	to.sin_port = htons(atoi(colon + 1));
	for (double patience = now() + PATIENCE_S; now() < patience; sleep_until(now() + 0.001)) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		int refused = connect(fd, (struct sockaddr *)&to, sizeof to);
		close(fd);
		if (!refused)
			return;
	}
	give_up(address, "nobody listens there");
}

/* Clients */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char error[512];
	if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK)
		give_up(name, error);
}

static void set_number(rd_kafka_conf_t *conf, const char *name, long value)
{
	char text[32];
	snprintf(text, sizeof text, "%ld", value);
	set(conf, name, text);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
	(void)client;
	(void)opaque;
	if (message->err)
		failed++;
	else
		delivered++;
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf, const struct options *to)
{
	char error[512];
	set(conf, "bootstrap.servers", to->address);
	set(conf, "socket.nagle.disable", "true");
	if (getenv("LOAD_TLS_CA")) {
		set(conf, "security.protocol", "ssl");
		set(conf, "ssl.ca.location", getenv("LOAD_TLS_CA"));
	}
	rd_kafka_t *made = rd_kafka_new(type, conf, error, sizeof error);
	if (!made)
		give_up("client", error);
	return made;
}

static rd_kafka_t *producer(const struct options *to, const char *transactional_id)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (transactional_id)
		set(conf, "transactional.id", transactional_id);
	set_number(conf, "acks", to->acks);
	set_number(conf, "linger.ms", to->linger_ms);
	set_number(conf, "batch.size", to->batch_bytes);
	set(conf, "compression.codec", CODECS[to->codec]);
	set(conf, "batch.num.messages", "1000000");
	set(conf, "queue.buffering.max.messages", "1000000");
	set(conf, "queue.buffering.max.kbytes", "1048576");
	set(conf, "topic.metadata.refresh.fast.interval.ms", "10");
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	return client(RD_KAFKA_PRODUCER, conf, to);
}

static rd_kafka_t *consumer(const struct options *to)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "group.id", "load"); /* asked for, not used: partitions are assigned by hand */
	set(conf, "enable.auto.commit", "false");
	set(conf, "isolation.level", to->committed ? "read_committed" : "read_uncommitted");
	set(conf, "queued.min.messages", "1000000");
	set(conf, "fetch.message.max.bytes", "10000000");
	rd_kafka_t *made = client(RD_KAFKA_CONSUMER, conf, to);
	rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(to->partitions);
	for (int partition = 0; partition < to->partitions; partition++)
		rd_kafka_topic_partition_list_add(all, to->topic, partition)->offset = 0;
	rd_kafka_resp_err_t error = rd_kafka_assign(made, all);
	if (error)
		give_up("assign", rd_kafka_err2str(error));
	rd_kafka_topic_partition_list_destroy(all);
	return made;
}

static void send_one(rd_kafka_t *client, rd_kafka_topic_t *topic, int partition, char *value, long bytes)
{
	while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value, bytes, NULL, 0, NULL)) {
		if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			give_up("produce", rd_kafka_err2str(rd_kafka_last_error()));
		rd_kafka_poll(client, 10);
	}
}

static void wait_delivered(rd_kafka_t *client, long count)
{
	double patience = now() + PATIENCE_S;
	while (delivered + failed < count && now() < patience)
		rd_kafka_poll(client, 100);
	if (delivered < count)
		give_up("produce", "not everything was acknowledged");
}

static char *value_of(long bytes)
{
	char *value = malloc(bytes);
	for (long i = 0; i < bytes; i++)
		value[i] = 'a' + i % 26;
	return value;
}

/* Words in a random order, the same each time: about as compressible as lines of a log. */
static char *words(long bytes)
{
	static const char *known[] = {"order ", "placed ", "by ", "customer ", "42 ", "8817 ", "ok ", "total=",
	                              "19.90 ", "eur ", "shipped ", "from ", "warehouse ", "7 ", "retry ", "id="};
	char *text = malloc(bytes);
	unsigned state = 1;
	for (long at = 0; at < bytes;) {
		state = state * 1103515245 + 12345;
		const char *word = known[state >> 28];
		for (; *word && at < bytes; word++)
			text[at++] = *word;
		if (at < bytes)
			text[at++] = 'a' + (state >> 16) % 26;
	}
	return text;
}

/* The n-th message: all alike, or (mixed) from half to one and a half times as long. */
static long size_of(const struct options *to, long n)
{
	return to->mixed ? to->bytes / 2 + (long)((n * 2654435761UL >> 8) % (to->bytes + 1)) : to->bytes;
}

/* What it does */

static void create_or_delete(const struct options *to, int create)
{
	char error[512] = "", flush[32], partitions_error[512];
	rd_kafka_t *admin = client(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), to);
	rd_kafka_queue_t *answers = rd_kafka_queue_new(admin);
	rd_kafka_AdminOptions_t *patience = rd_kafka_AdminOptions_new(admin, RD_KAFKA_ADMIN_OP_ANY);
	rd_kafka_AdminOptions_set_operation_timeout(patience, 60000, error, sizeof error);
	rd_kafka_AdminOptions_set_request_timeout(patience, 60000, error, sizeof error);
	if (create) {
		rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
			to->topic, to->partitions, 1, partitions_error, sizeof partitions_error);
		if (!topic)
			give_up("create", partitions_error);
		snprintf(flush, sizeof flush, "%ld", to->flush_messages);
		rd_kafka_NewTopic_set_config(topic, "flush.messages", flush);
		rd_kafka_CreateTopics(admin, &topic, 1, patience, answers);
	} else {
		rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(to->topic);
		rd_kafka_DeleteTopics(admin, &topic, 1, patience, answers);
	}
	rd_kafka_event_t *answer = rd_kafka_queue_poll(answers, PATIENCE_S * 1000);
	if (!answer)
		give_up("admin", "no answer");
	size_t count = 0;
	const rd_kafka_topic_result_t **results = NULL;
	if (rd_kafka_event_error(answer))
		give_up("admin", rd_kafka_event_error_string(answer));
	if (create)
		results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(answer), &count);
	else
		results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(answer), &count);
	if (count != 1 || rd_kafka_topic_result_error(results[0]))
		give_up("admin", count ? rd_kafka_topic_result_error_string(results[0]) : "no result");
	printf("{}\n");
}

/* Messages to all partitions in turn; at a rate, if one is given. */
static void produce(const struct options *to)
{
	rd_kafka_t *client = producer(to, NULL);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(client, to->topic, NULL);
	int worded = to->mixed || to->codec;
	char *value = worded ? words(WORDS_BYTES + 2 * to->bytes) : value_of(to->bytes);
	double total = 0;
	for (long i = 0; i < to->partitions; i++) /* connected, and every partition known */
		send_one(client, topic, i, value, to->bytes);
	wait_delivered(client, to->partitions);
	delivered = 0;
	double cpu = cpu_seconds(), begun = now();
	double every = to->bytes_per_s ? to->bytes / (double)to->bytes_per_s : 0;
	for (long i = 0; i < to->count; i++) {
		if (every && now() < begun + i * every) {
			rd_kafka_poll(client, 0);
			sleep_until(begun + i * every + 0.0005);
		}
		long bytes = size_of(to, i);
		total += bytes;
		send_one(client, topic, i % to->partitions, worded ? value + i * 101 % WORDS_BYTES : value, bytes);
		if (i % POLL_EVERY == 0)
			rd_kafka_poll(client, 0);
	}
	rd_kafka_flush(client, 0); /* whoever flushes does not linger */
	wait_delivered(client, to->count);
	double took = now() - begun;
	printf("{\"seconds\": %.6f, \"bytes\": %.0f, \"client_cpu\": %.3f}\n", took,
	       total, cpu_seconds() - cpu);
}

static int by_size(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;
	return (a > b) - (a < b);
}

/* Of a call that ends or begins something: whether it has to be made again. */
static int again(const char *what, rd_kafka_error_t *error)
{
	if (!error)
		return 0;
	if (!rd_kafka_error_is_retriable(error))
		give_up(what, rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	return 1;
}

static void print_delays(const char *what, double *delays, long count)
{
	qsort(delays, count, sizeof(double), by_size);
	printf("\"%sp50_ms\": %.4f, \"%sp99_ms\": %.4f, \"%smax_ms\": %.4f", what, delays[count / 2] * 1e3,
	       what, delays[count * 99 / 100] * 1e3, what, delays[count - 1] * 1e3);
}

/* Transactions one after another, at a rate if one is given. */
static void transact(const struct options *to)
{
	rd_kafka_t *client = producer(to, to->topic); /* a topic of its own has an id of its own */
	rd_kafka_topic_t *topic = rd_kafka_topic_new(client, to->topic, NULL);
	double *ends = calloc(to->count, sizeof(double)), *wholes = calloc(to->count, sizeof(double));
	double cpu = 0, first = 0, begun = 0;
	char *value = value_of(to->bytes);
	while (again("init_transactions", rd_kafka_init_transactions(client, PATIENCE_S * 1000)))
		;
	for (long i = -to->warm; i < to->count; i++) {
		if (i == -to->warm)
			first = now();
		if (i == 0) {
			cpu = cpu_seconds();
			begun = now();
		}
		if (to->transactions_per_s)
			sleep_until(first + (to->warm + i) / (double)to->transactions_per_s);
		double began = now();
		again("begin_transaction", rd_kafka_begin_transaction(client));
		for (long n = 0; n < to->messages; n++)
			send_one(client, topic, n % to->partitions, value, to->bytes);
		rd_kafka_flush(client, PATIENCE_S * 1000);
		double asked = now();
		if (to->aborted && (i + to->warm + 1) % to->aborted == 0)
			while (again("abort_transaction", rd_kafka_abort_transaction(client, -1)))
				;
		else
			while (again("commit_transaction", rd_kafka_commit_transaction(client, -1)))
				;
		if (i >= 0) {
			ends[i] = now() - asked;
			wholes[i] = now() - began;
		}
	}
	printf("{\"seconds\": %.6f, \"bytes\": %.0f, \"client_cpu\": %.3f, ", now() - begun,
	       (double)to->count * to->messages * to->bytes, cpu_seconds() - cpu);
	print_delays("end_", ends, to->count);
	printf(", ");
	print_delays("whole_", wholes, to->count);
	printf("}\n");
}

/* All messages from the first offset on; timed from the first one that comes. */
static void consume(const struct options *to)
{
	static rd_kafka_message_t *taken[TAKEN_AT_ONCE];
	rd_kafka_t *client = consumer(to);
	rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
	double asked = now(), first = 0, bytes = 0, cpu = cpu_seconds();
	long got = 0;
	while (got < to->count) {
		ssize_t count = rd_kafka_consume_batch_queue(queue, 100, taken, TAKEN_AT_ONCE);
		for (ssize_t i = 0; i < count; i++) {
			if (!taken[i]->err) {
				got++;
				bytes += taken[i]->len;
			}
			rd_kafka_message_destroy(taken[i]);
		}
		if (count > 0 && !first)
			first = now();
		if (now() - asked > PATIENCE_S)
			give_up("consume", "not everything came");
	}
	double done = now();
	printf("{\"seconds\": %.6f, \"bytes\": %.0f, \"first_s\": %.6f, \"client_cpu\": %.3f}\n",
	       done - first, bytes, first - asked, cpu_seconds() - cpu);
}

/* Latency: each message holds the moment at which it was due, so that a late sender counts, too. */

struct reading {
	const struct options *to;
	double *delays;
};

static void *read_delays(void *argument)
{
	struct reading *reading = argument;
	rd_kafka_t *client = consumer(reading->to);
	double patience = now() + PATIENCE_S;
	for (long got = 0; got < reading->to->warm + reading->to->count;) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
		double at = now();
		if (at > patience)
			give_up("latency", "not everything came");
		if (!message)
			continue;
		if (!message->err) {
			double due;
			memcpy(&due, message->payload, sizeof due);
			if (got >= reading->to->warm)
				reading->delays[got - reading->to->warm] = at - due;
			got++;
		}
		rd_kafka_message_destroy(message);
	}
	return NULL;
}

static void latency(const struct options *to)
{
	struct reading reading = {to, calloc(to->count, sizeof(double))};
	pthread_t reader;
	pthread_create(&reader, NULL, read_delays, &reading);
	rd_kafka_t *client = producer(to, NULL);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(client, to->topic, NULL);
	char *value = value_of(to->bytes);
	double begun = now() + 0.5, every = 1.0 / to->messages_per_s;
	for (long i = 0; i < to->warm + to->count; i++) {
		double due = begun + i * every;
		sleep_until(due);
		memcpy(value, &due, sizeof due);
		send_one(client, topic, i % to->partitions, value, to->bytes);
		rd_kafka_poll(client, 0);
	}
	wait_delivered(client, to->warm + to->count);
	pthread_join(reader, NULL);
	printf("{");
	print_delays("", reading.delays, to->count);
	printf("}\n");
}

/* One message, to a broker that may not be there yet; the clock that all processes share. */
static void first(const struct options *to)
{
	rd_kafka_t *client = producer(to, NULL);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(client, to->topic, NULL);
	char *value = value_of(to->bytes);
	send_one(client, topic, 0, value, to->bytes);
	double patience = now() + PATIENCE_S;
	while (!delivered && !failed && now() < patience)
		rd_kafka_poll(client, 1);
	if (!delivered)
		give_up("first", "the message was not acknowledged");
	printf("{\"at\": %.6f}\n", now());
}

static void read_options(struct options *to, int count, char **given)
{
	struct {
		const char *name;
		long *value;
	} known[] = {
		{"partitions", &to->partitions}, {"bytes", &to->bytes}, {"count", &to->count},
		{"linger_ms", &to->linger_ms}, {"batch_bytes", &to->batch_bytes},
		{"bytes_per_s", &to->bytes_per_s}, {"flush_messages", &to->flush_messages},
		{"messages_per_s", &to->messages_per_s}, {"warm", &to->warm}, {"acks", &to->acks},
		{"mixed", &to->mixed}, {"codec", &to->codec}, {"messages", &to->messages},
		{"transactions_per_s", &to->transactions_per_s}, {"aborted", &to->aborted},
		{"committed", &to->committed},
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

int main(int count, char **given)
{
	if (count < 4)
		give_up("usage", "load create|delete|produce|transact|consume|latency|first ADDRESS TOPIC [NAME=NUMBER ...]");
	struct options to = {
		.address = given[2], .topic = given[3], .partitions = 1, .bytes = 100, .count = 1000,
		.batch_bytes = 1000000, .messages_per_s = 1000, .flush_messages = 1, .acks = -1,
		.messages = 1000,
	};
	read_options(&to, count - 4, given + 4);
	const char *what = given[1];
	if (!strcmp(what, "first")) { /* whoever reads this starts the broker now */
		printf("looking\n");
		fflush(stdout);
	}
	wait_for_broker(to.address);
	if (!strcmp(what, "create"))
		create_or_delete(&to, 1);
	else if (!strcmp(what, "delete"))
		create_or_delete(&to, 0);
	else if (!strcmp(what, "produce"))
		produce(&to);
	else if (!strcmp(what, "transact"))
		transact(&to);
	else if (!strcmp(what, "consume"))
		consume(&to);
	else if (!strcmp(what, "latency"))
		latency(&to);
	else if (!strcmp(what, "first"))
		first(&to);
	else
		give_up(what, "no such load");
	return 0; /* clients are not destroyed: their threads would only be waited for */
}
