// Load for what MQTT retains, over raw sockets (3.1.1).
//   mqtt_retained keep PORT COUNT BYTES    Retains a message of so many bytes in so many topics
//       (QoS 0, all on their way at once). Prints how many were taken per second.
//   mqtt_retained get PORT COUNT FILTER    Subscribes, and reads until so many have come. Prints
//       how many came per second.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };

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

static void put(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        data += sent, size -= sent;
    }
}

static void expect(int fd, int first, int size) {
    char got[8];
    int have = 0;
    while (have < size) {
        ssize_t more = recv(fd, got + have, size - have, 0);
        if (more <= 0) fail("recv");
        have += more;
    }
    if ((unsigned char)got[0] != first) exit(2);
}

static int come(int port, const char *name) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, length = strlen(name);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (void *)&to, sizeof to)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char packet[64] = {0x10, 12 + length, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, length};
    memcpy(packet + 14, name, length);
    put(fd, packet, 14 + length);
    expect(fd, 0x20, 4);
    return fd;
}

static int head(char *packet, int size) {  // a PUBLISH with so much behind its length
    int at = 0;
    packet[at++] = 0x31;
    do packet[at++] = (size & 127) | (size > 127 ? 128 : 0);
    while (size >>= 7);
    return at;
}

static void keep(int fd, long count, int body) {
    int used = 0;
    for (long n = 0; n < count; n++) {
        char topic[64];
        int length = sprintf(topic, "fleet/%07ld/state", n);
        int at = used + head(buffer + used, 2 + length + body);
        buffer[at++] = 0, buffer[at++] = length;
        memcpy(buffer + at, topic, length);
        memset(buffer + at + length, 'x', body);
        used = at + length + body;
        if (used > BUFFER / 2) put(fd, buffer, used), used = 0;
    }
    put(fd, buffer, used);
    put(fd, "\xc0\0", 2);
    expect(fd, 0xd0, 2);
}

static void get(int fd, long count, const char *filter) {
    int length = strlen(filter), have = 0;
    char packet[64] = {(char)0x82, 5 + length, 0, 1, 0, length};
    memcpy(packet + 6, filter, length);
    put(fd, packet, 7 + length);
    for (long got = 0; got < count;) {
        ssize_t more = recv(fd, buffer + have, BUFFER - have, 0);
        if (more <= 0) fail("recv");
        have += more;
        int at = 0;
        for (;;) {
            int size = 0, shift = 0, next = at + 1;
            while (next < have && shift < 28) {
                size |= (buffer[next] & 127) << shift, shift += 7;
                if (!(buffer[next++] & 128)) break;
            }
            if (next == at + 1 || buffer[next - 1] & 128 || next + size > have) break;
            if ((buffer[at] & 0xf0) == 0x30) got++;
            at = next + size;
        }
        memmove(buffer, buffer + at, have - at), have -= at;
    }
}

int main(int count, char **words) {
    if (count != 5) return 2;
    int fd = come(atoi(words[2]), words[1]);
    long messages = atol(words[3]);
    double began = now();
    if (!strcmp(words[1], "keep")) keep(fd, messages, atoi(words[4]));
    else get(fd, messages, words[4]);
    printf("%.0f\n", messages / (now() - began));
    put(fd, "\xe0\0", 2);
    close(fd);
}
