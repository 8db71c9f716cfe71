// Load for keys: connections that keep a pipeline full, over raw sockets.
//   keys_load PORT KIND CONNECTIONS REQUESTS PIPELINE BYTES KEYS
//       KIND: set, get.    BYTES: of a value.    KEYS: that are chosen among, of 20 bytes each
//       Prints requests per second.
//   keys_load PORT fill KEYS BYTES        Sets each key once, 1000 a write; requests per second.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, QUIET_MS = 60000, BATCH = 1000 };

static int port, body;
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

static int dial(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (void *)&to, sizeof to)) fail("connect");
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

static unsigned long long seed = 88172645463325252ull;

static unsigned chosen(unsigned keys) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed % keys;
}

static int one(char *to, int set, unsigned key) {
    int size = sprintf(to, "*%d\r\n$3\r\n%s\r\n$20\r\nkey:%016u\r\n", set ? 3 : 2,
                       set ? "SET" : "GET", key);
    if (!set) return size;
    size += sprintf(to + size, "$%d\r\n", body);
    memset(to + size, 'x', body);
    memcpy(to + size + body, "\r\n", 2);
    return size + body + 2;
}

typedef struct {
    int fd, waits;  // replies that are to come
    long left;      // bytes of a bulk reply that are to be passed over
    int head;       // of the line that has begun
    char line[32];
} Side;

// How many replies end in these bytes. An error ends the run.
static int replies(Side *side, const char *data, ssize_t size) {
    int found = 0;
    for (ssize_t at = 0; at < size;) {
        if (side->left) {
            long some = side->left < size - at ? side->left : size - at;
            side->left -= some, at += some;
            found += !side->left;
            continue;
        }
        char byte = data[at++];
        if (side->head < 31) side->line[side->head++] = byte;
        if (byte != '\n') continue;
        side->line[side->head] = 0, side->head = 0;
        if (side->line[0] == '-') fprintf(stderr, "%s", side->line), exit(1);
        long length = side->line[0] == '$' ? atol(side->line + 1) : -1;
        if (length >= 0) side->left = length + 2;
        else found++;
    }
    return found;
}

static void more(Side *side, int set, int pipeline, unsigned keys, char *room) {
    long size = 0;
    for (int i = 0; i < pipeline; i++) size += one(room + size, set, chosen(keys));
    side->waits = pipeline;
    put(side->fd, room, size);
}

static int load(int set, int connections, long requests, int pipeline, unsigned keys) {
    int poll = epoll_create1(0);
    Side *sides = calloc(connections, sizeof *sides);
    char *room = malloc((long)pipeline * (body + 128));
    long answered = 0, asked = 0;
    for (int i = 0; i < connections; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = i};
        sides[i].fd = dial();
        epoll_ctl(poll, EPOLL_CTL_ADD, sides[i].fd, &wanted);
    }
    double begun = now();
    for (int i = 0; i < connections; i++) more(&sides[i], set, pipeline, keys, room), asked += pipeline;
    while (answered < asked) {
        struct epoll_event events[256];
        int count = epoll_wait(poll, events, 256, QUIET_MS);
        if (count <= 0) fail("no reply");
        for (int i = 0; i < count; i++) {
            Side *side = &sides[events[i].data.u32];
            ssize_t got = recv(side->fd, buffer, BUFFER, 0);
            if (got <= 0) fail("recv");
            int found = replies(side, buffer, got);
            answered += found, side->waits -= found;
            if (!side->waits && asked < requests) more(side, set, pipeline, keys, room), asked += pipeline;
        }
    }
    printf("%.1f\n", answered / (now() - begun));
    return 0;
}

static int fill(unsigned keys) {
    Side side = {.fd = dial()};
    char *room = malloc((long)BATCH * (body + 128));
    double begun = now();
    for (unsigned first = 0; first < keys; first += BATCH) {
        long size = 0, waits = keys - first < BATCH ? keys - first : BATCH;
        for (unsigned i = 0; i < waits; i++) size += one(room + size, 1, first + i);
        put(side.fd, room, size);
        while (waits) {
            ssize_t got = recv(side.fd, buffer, BUFFER, 0);
            if (got <= 0) fail("recv");
            waits -= replies(&side, buffer, got);
        }
    }
    printf("%.1f\n", keys / (now() - begun));
    return 0;
}

int main(int count, char **words) {
    if (count < 5) return 2;
    port = atoi(words[1]);
    if (!strcmp(words[2], "fill") && count == 5) {
        body = atoi(words[4]);
        return fill(atol(words[3]));
    }
    if (count != 8) return 2;
    body = atoi(words[6]);
    return load(!strcmp(words[2], "set"), atoi(words[3]), atol(words[4]), atoi(words[5]), atol(words[7]));
}
