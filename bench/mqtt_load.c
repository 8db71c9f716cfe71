// Load for MQTT: subscribers that acknowledge, publishers with a window, over raw sockets (3.1.1).
//   mqtt_load fan PORT SUBSCRIBERS MESSAGES QOS WINDOW TOPICS BYTES
//       WINDOW: messages that are published and have not come to all; with a QoS also those
//       that are not acknowledged.    TOPICS: subscriber n has topic n % TOPICS, all are published
//       to in turn.    Prints what was delivered per second.
//   mqtt_load crowd PORT CLIENTS    All connect, AT_ONCE of them on their way in, and subscribe to
//       a filter of their own. Prints the seconds until all have; holds them until its input ends.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, QUIET_MS = 30000, BATCH = 64, KEPT = 1 << 17, AT_ONCE = 1000 };

typedef struct {
    int fd, have;
    char kept[KEPT];  // what has come of it, from a packet's beginning
} Peer;

static int port, qos, body;
static char buffer[BUFFER], answers[BUFFER];
static volatile long *delivered;  // to all subscribers together

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int sock(struct sockaddr_in *to, int flags) {
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0), one = 1;
    *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    to->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) fail("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
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
        ssize_t got = recv(fd, buffer, size, 0);
        if (got <= 0) fail("recv");
        size -= got;
    }
}

static int connect_packet(char *to, const char *id, int clean) {
    int size = strlen(id);
    char head[] = {0x10, 12 + size, 0, 4, 'M', 'Q', 'T', 'T', 4, clean ? 2 : 0, 0, 0, 0, size};
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, id, size);
    return sizeof head + size;
}

static int subscribe_packet(char *to, const char *filter) {
    int size = strlen(filter);
    char head[] = {(char)0x82, 5 + size, 0, 1, 0, size};
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, filter, size);
    to[sizeof head + size] = qos;
    return sizeof head + size + 1;
}

static int publish_packet(char *to, const char *topic, int pid) {
    int name = strlen(topic), left = 2 + name + (qos ? 2 : 0) + body, at = 0;
    to[at++] = 0x30 | qos << 1;
    do {
        to[at++] = (left & 127) | (left > 127 ? 128 : 0);
        left >>= 7;
    } while (left);
    to[at++] = name >> 8, to[at++] = name;
    memcpy(to + at, topic, name), at += name;
    if (qos) to[at++] = pid >> 8, to[at++] = pid;
    memset(to + at, 'x', body);
    return at + body;
}

static int enter(const char *kind, int number, int clean) {
    struct sockaddr_in to;
    char id[32], packet[64];
    int fd = sock(&to, 0);
    if (connect(fd, (void *)&to, sizeof to)) fail("connect");
    sprintf(id, "%s%d", kind, number);
    put(fd, packet, connect_packet(packet, id, clean));
    get(fd, 4);
    return fd;
}

// Takes the whole packets that have come; answers them as a client does. How many were PUBLISH, or,
// of a publisher, how many messages are acknowledged for good.
static long take(Peer *it, char *to, int *answer) {
    long found = 0;
    int at = 0;
    *answer = 0;
    while (it->have - at >= 2) {
        unsigned char *p = (unsigned char *)it->kept + at;
        int left = 0, shift = 0, size = 1;
        do {
            if (size >= it->have - at) goto kept;
            left |= (p[size] & 127) << shift, shift += 7;
        } while (p[size++] & 128);
        if (it->have - at < size + left) break;
        unsigned char *in = p + size;
        int kind = p[0] >> 4, its = p[0] >> 1 & 3;
        char *a = to + *answer;
        if (kind == 3) {
            found++;
            if (its) {
                int name = in[0] << 8 | in[1];
                a[0] = its == 1 ? 0x40 : 0x50, a[1] = 2, a[2] = in[2 + name], a[3] = in[3 + name];
                *answer += 4;
            }
        } else if (kind == 5 || kind == 6) {  // PUBREC, PUBREL
            a[0] = kind == 5 ? 0x62 : 0x70, a[1] = 2, a[2] = in[0], a[3] = in[1];
            *answer += 4;
        } else if (kind == 4 || kind == 7) {
            found++;
        }
        at += size + left;
    }
kept:
    memmove(it->kept, it->kept + at, it->have -= at);
    return found;
}

static ssize_t hear(Peer *it) {
    ssize_t got = recv(it->fd, it->kept + it->have, KEPT - it->have, 0);
    if (got <= 0) fail("it was cut off");
    it->have += got;
    return got;
}

static void drain(int subscribers, int topics, long messages, int ready, int out) {
    int poll = epoll_create1(0), answer;
    Peer *peers = calloc(subscribers, sizeof *peers);
    char name[32], packet[64];
    for (int i = 0; i < subscribers; i++) {
        if (qos) close(enter("s", i, 1));  // of an earlier run nothing is left
        peers[i].fd = enter("s", i, !qos);  // what is to be acknowledged waits in a session that lasts
        sprintf(name, "bench/t%06d", i % topics);
        put(peers[i].fd, packet, subscribe_packet(packet, name));
        get(peers[i].fd, 5);
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = peers + i};
        epoll_ctl(poll, EPOLL_CTL_ADD, peers[i].fd, &wanted);
    }
    if (write(ready, "x", 1) != 1) fail("write");
    while (*delivered < messages) {
        struct epoll_event events[256];
        int count = epoll_wait(poll, events, 256, QUIET_MS);
        if (count <= 0) {
            fprintf(stderr, "nothing comes any more; %ld are missing\n", messages - *delivered);
            exit(1);
        }
        for (int i = 0; i < count; i++) {
            Peer *it = events[i].data.ptr;
            hear(it);
            long found = take(it, answers, &answer);
            if (answer) put(it->fd, answers, answer);
            *delivered += found;
        }
    }
    double end = now();
    for (int i = 0; qos && i < subscribers; i++) close(enter("s", i, 1));
    if (write(out, &end, sizeof end) != sizeof end) fail("write");
    exit(0);
}

static int fan(char **words) {
    int subscribers = atoi(words[0]), window = atoi(words[3]), topics = atoi(words[4]);
    long messages = atol(words[1]), sent = 0, acked = 0;
    int ready[2], done[2], answer;
    qos = atoi(words[2]), body = atoi(words[5]);
    long each = subscribers / topics;
    if (pipe(ready) || pipe(done)) fail("pipe");
    if (!fork()) drain(subscribers, topics, messages * each, ready[1], done[1]);
    close(ready[1]), close(done[1]);
    if (read(ready[0], buffer, 1) != 1) fail("subscribers");
    static Peer me;
    me.fd = enter("p", getpid(), 1);
    char *batch = malloc((size_t)BATCH * (body + 64)), name[32];
    double begun = now(), end;
    while (sent < messages || (qos && acked < messages)) {
        long room = window - (sent - *delivered / each), unacked = window - (sent - acked);
        if (qos && unacked < room) room = unacked;
        if (room > messages - sent) room = messages - sent;
        if (room > BATCH) room = BATCH;
        if (room >= BATCH / 4 || (room > 0 && sent + room == messages)) {
            size_t size = 0;
            for (int i = 0; i < room; i++, sent++) {
                sprintf(name, "bench/t%06ld", sent % topics);
                size += publish_packet(batch + size, name, 1 + sent % 60000);
            }
            put(me.fd, batch, size);
        } else if (!qos) {
            usleep(20);
        }
        if (qos) {
            struct pollfd news = {.fd = me.fd, .events = POLLIN};
            if (poll(&news, 1, room >= BATCH / 4 ? 0 : 1) > 0) {
                hear(&me);
                acked += take(&me, answers, &answer);
                if (answer) put(me.fd, answers, answer);
            }
        }
    }
    if (read(done[0], &end, sizeof end) != sizeof end) fail("subscribers");
    while (wait(NULL) > 0) {}
    printf("%.1f\n", messages * each / (end - begun));
    return 0;
}

static int crowd(char **words) {
    int clients = atoi(words[0]), poll = epoll_create1(0), there = 0, begun = 0;
    char packet[128], name[32];
    int *step = calloc(clients, sizeof *step), *fds = calloc(clients, sizeof *fds);
    struct sockaddr_in to;
    double since = now();
    while (there < clients) {
        // More at once than a listener has room for are tried again by the kernel, seconds later.
        for (; begun < clients && begun - there < AT_ONCE; begun++) {
            int fd = fds[begun] = sock(&to, SOCK_NONBLOCK);
            if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) fail("connect");
            struct epoll_event wanted = {.events = EPOLLOUT, .data.u32 = begun};
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wanted);
        }
        struct epoll_event events[256];
        int count = epoll_wait(poll, events, 256, QUIET_MS);
        if (count <= 0) fail("nobody is let in any more");
        for (int i = 0; i < count; i++) {
            int n = events[i].data.u32, fd = fds[n];
            if (step[n] == 0) {
                sprintf(name, "crowd%d", n);
                put(fd, packet, connect_packet(packet, name, 1));
                struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = n};
                epoll_ctl(poll, EPOLL_CTL_MOD, fd, &wanted);
            } else {
                if (recv(fd, buffer, BUFFER, 0) <= 0) fail("it was not let in");
                if (step[n] == 1) {
                    sprintf(name, "crowd/%d/#", n);
                    put(fd, packet, subscribe_packet(packet, name));
                } else {
                    there++;
                }
            }
            step[n]++;
        }
    }
    printf("%.3f\n", now() - since);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}

int main(int count, char **words) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    delivered = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (count < 4) return 2;
    port = atoi(words[2]);
    if (!strcmp(words[1], "fan") && count == 9) return fan(words + 3);
    if (!strcmp(words[1], "crowd") && count == 4) return crowd(words + 3);
    return 2;
}
