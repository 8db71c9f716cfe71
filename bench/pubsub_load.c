// Load for channels: subscribers that drain, a publisher that pipelines, over raw sockets.
//   pubsub_load fan PORT[,OTHER] SUBSCRIBERS MESSAGES PIPELINE KIND CHANNELS SLOW BYTES
//       OTHER: where every second subscriber comes in.
//       KIND: name; pattern (each subscriber its own, all match); one (each its own, one matches)
//       SLOW: so many more subscribers, to all channels, that never read.    BYTES: of a message
//       Prints what was delivered per second
//       (without subscribers: what was published per second).
//   pubsub_load latency PORT MESSAGES        Prints the median and the 99th percentile, in us.
//   pubsub_load crowd PORT CONNECTIONS MESSAGES   One request in flight on each; requests per second.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, QUIET_MS = 30000 };

static int port, other_port, body = 100;  // other_port: where every second subscriber goes
static char buffer[BUFFER];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int dial_at(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (void *)&to, sizeof to)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int dial(void) {
    return dial_at(port);
}

static void put(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        data += sent, size -= sent;
    }
}

static void get(int fd, size_t size) {
    while (size) {
        ssize_t got = recv(fd, buffer, size < BUFFER ? size : BUFFER, 0);
        if (got <= 0) fail("recv");
        size -= got;
    }
}

static void get_lines(int fd, int lines) {
    for (char byte; lines; lines -= byte == '\n')
        if (recv(fd, &byte, 1, 0) != 1) fail("recv");
}

static int ask(char *to, const char *command, const char *name) {
    return sprintf(to, "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(command), command, strlen(name),
                   name);
}

static int publish(char *to, const char *name) {
    int size = sprintf(to, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n%s\r\n$%d\r\n", strlen(name), name, body);
    memset(to + size, 'x', body);
    memcpy(to + size + body, "\r\n", 2);
    return size + body + 2;
}

static void subscribe_to_all(void) {
    char request[256];
    int fd = dial();
    put(fd, request, ask(request, "PSUBSCRIBE", "bench*"));
    get_lines(fd, 6);
}

static int subscribe(const char *kind, int number, int channels) {
    char name[64], request[256];
    int fd = dial_at(other_port && number % 2 ? other_port : port);
    int by_name = !strcmp(kind, "name");
    if (by_name) sprintf(name, "bench%06d", number % channels);
    else if (!strcmp(kind, "pattern")) sprintf(name, "benc[h%06d]000000", number);
    else sprintf(name, "benc%c%06d*", number ? 'x' : 'h', number);
    put(fd, request, ask(request, by_name ? "SUBSCRIBE" : "PSUBSCRIBE", name));
    get_lines(fd, 6);
    return fd;
}

// The size of one message as a subscriber gets it.
static long message_size(const char *kind) {
    char text[256];
    int size = !strcmp(kind, "name")
                   ? sprintf(text, "*3\r\n$7\r\nmessage\r\n$11\r\nbench000000\r\n")
                   : sprintf(text, "*4\r\n$8\r\npmessage\r\n$%d\r\n$11\r\nbench000000\r\n\r\n",
                             !strcmp(kind, "pattern") ? 19 : 12) +
                         (!strcmp(kind, "pattern") ? 19 : 12);
    return size + sprintf(text, "$%d\r\n", body) + body + 2;
}

// Drains until `bytes` have come; the time of the last one goes to `out`.
static void drain(int subscribers, const char *kind, int channels, long long bytes, int ready,
                  int out) {
    int poll = epoll_create1(0);
    for (int i = 0; i < subscribers; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = subscribe(kind, i, channels)};
        epoll_ctl(poll, EPOLL_CTL_ADD, wanted.data.fd, &wanted);
    }
    if (write(ready, "x", 1) != 1) fail("write");
    while (bytes > 0) {
        struct epoll_event events[256];
        int count = epoll_wait(poll, events, 256, QUIET_MS);
        if (count <= 0) {
            fprintf(stderr, "nothing comes any more; %lld bytes are missing\n", bytes);
            exit(1);
        }
        for (int i = 0; i < count; i++) {
            ssize_t got = recv(events[i].data.fd, buffer, BUFFER, 0);
            if (got <= 0) fail("a subscriber was cut off");
            bytes -= got;
        }
    }
    double end = now();
    if (write(out, &end, sizeof end) != sizeof end) fail("write");
    exit(0);
}

static int fan(char **words) {
    int subscribers = atoi(words[0]), pipeline = atoi(words[2]), channels = atoi(words[4]);
    int slow = atoi(words[5]), ready[2], done[2];
    body = atoi(words[6]);
    long messages = atol(words[1]);
    const char *kind = words[3];
    long each = strcmp(kind, "one") ? subscribers / channels : 1, deliveries = messages * each;
    if (pipe(ready) || pipe(done)) fail("pipe");
    if (subscribers && !fork())
        drain(subscribers, kind, channels, (long long)deliveries * message_size(kind), ready[1],
              done[1]);
    if (subscribers) {
        close(ready[1]), close(done[1]);
        if (read(ready[0], buffer, 1) != 1) fail("subscribers");
    }
    for (int i = 0; i < slow; i++) subscribe_to_all();
    char *batch = malloc((size_t)pipeline * (body + 156)), name[32];
    int fd = dial();
    double begun = now(), end;
    for (long sent = 0; sent < messages; sent += pipeline) {
        size_t size = 0;
        for (int i = 0; i < pipeline; i++) {
            sprintf(name, "bench%06ld", (sent + i) % channels);
            size += publish(batch + size, name);
        }
        put(fd, batch, size);
        for (int lines = pipeline; lines;) {
            ssize_t got = recv(fd, buffer, BUFFER, 0);
            if (got <= 0) fail("recv");
            for (ssize_t i = 0; i < got; i++) lines -= buffer[i] == '\n';
        }
    }
    end = now();
    if (subscribers && read(done[0], &end, sizeof end) != sizeof end) fail("subscribers");
    while (wait(NULL) > 0) {}
    printf("%.1f\n", (subscribers ? deliveries : messages) / (end - begun));
    return 0;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int latency(char **words) {
    long messages = atol(words[0]), warm = 500;
    char request[256];
    int listener = subscribe("name", 0, 1), publisher = dial();
    int size = publish(request, "bench000000");
    double *took = malloc(messages * sizeof *took);
    for (long i = -warm; i < messages; i++) {
        double begun = now();
        put(publisher, request, size);
        get(listener, message_size("name"));
        if (i >= 0) took[i] = now() - begun;
        get_lines(publisher, 1);
    }
    qsort(took, messages, sizeof *took, by_size);
    printf("%.2f %.2f\n", took[messages / 2] * 1e6, took[messages * 99 / 100] * 1e6);
    return 0;
}

static int crowd(char **words) {
    int connections = atoi(words[0]), poll = epoll_create1(0);
    long messages = atol(words[1]), answered = 0, sent = 0;
    char request[256];
    int size = publish(request, "bench000000");
    double begun = 0;
    for (int i = 0; i < connections; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = dial()};
        epoll_ctl(poll, EPOLL_CTL_ADD, wanted.data.fd, &wanted);
        put(wanted.data.fd, request, size), sent++;
        if (!begun) begun = now();
    }
    while (answered < messages) {
        struct epoll_event events[256];
        int count = epoll_wait(poll, events, 256, QUIET_MS);
        if (count <= 0) fail("no reply");
        for (int i = 0; i < count; i++) {
            if (recv(events[i].data.fd, buffer, BUFFER, 0) <= 0) fail("recv");
            answered++;
            if (sent < messages) put(events[i].data.fd, request, size), sent++;
        }
    }
    printf("%.1f\n", messages / (now() - begun));
    return 0;
}

int main(int count, char **words) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (count < 4) return 2;
    port = atoi(words[2]);
    if (strchr(words[2], ',')) other_port = atoi(strchr(words[2], ',') + 1);
    if (!strcmp(words[1], "fan") && count == 10) return fan(words + 3);
    if (!strcmp(words[1], "latency") && count == 4) return latency(words + 3);
    if (!strcmp(words[1], "crowd") && count == 5) return crowd(words + 3);
    return 2;
}
