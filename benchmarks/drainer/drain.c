/* Many WebSocket clients in one process that read as fast as the kernel lets them, and count messages.
 *
 * drain PORT COUNT PATH...   client i asks for PATH[i mod number of paths].
 * Prints "ready" when all are upgraded; at the end of each connection's stream its messages and bytes count.
 * When all streams have ended, prints one line for each client: messages bytes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    int fd;
    uint64_t messages, bytes;
    uint64_t skip;        /* bytes of the present frame's payload still to come */
    unsigned char head[10];
    int have;             /* bytes of the present frame's header that are there */
};

static void die(const char *what) { perror(what); exit(1); }

static int head_size(const unsigned char *head, int have) {
    if (have < 2) return 2;
    int size = head[1] & 127;
    return size == 126 ? 4 : size == 127 ? 10 : 2;
}

/* RFC 6455, section 5.2; a server does not mask. */
static void take(struct client *client, const unsigned char *data, size_t size) {
    client->bytes += size;
    while (size) {
        if (client->skip) {
            size_t step = client->skip < size ? client->skip : size;
            client->skip -= step; data += step; size -= step;
            continue;
        }
        client->head[client->have++] = *data++; size--;
        if (client->have < 2 || client->have < head_size(client->head, client->have)) continue;
        uint64_t length = client->head[1] & 127;
        int wide = client->have - 2;
        if (wide) { length = 0; for (int i = 0; i < wide; i++) length = length << 8 | client->head[2 + i]; }
        if ((client->head[0] & 8) == 0 && (client->head[0] & 128)) client->messages++;
        client->skip = length; client->have = 0;
    }
}

static int upgrade(int port, int number, const char *path) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) die("socket");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    char text[4096];
    int size = snprintf(text, sizeof text,
        "GET %s%cx-client-type=drain&x-host-id=drain%d HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        path, strchr(path, '?') ? '&' : '?', number);
    if (write(fd, text, size) != size) die("write");
    /* byte by byte, so that nothing of what follows the answer is lost */
    uint32_t last = 0; unsigned char byte; int first = 1; char status[13] = {0};
    for (int n = 0; last != 0x0d0a0d0a; n++) {
        if (read(fd, &byte, 1) != 1) die("read");
        if (n < 12) status[n] = byte;
        last = last << 8 | byte; first = 0;
    }
    if (first || strcmp(status, "HTTP/1.1 101")) { fprintf(stderr, "refused: %s\n", status); exit(1); }
    return fd;
}

int main(int argc, char **argv) {
    if (argc < 4) { fprintf(stderr, "usage: drain PORT COUNT PATH...\n"); return 2; }
    int count = atoi(argv[2]), left = count, poll = epoll_create1(0);
    struct client *clients = calloc(count, sizeof *clients);
    static unsigned char buffer[1 << 20];
    for (int i = 0; i < count; i++) {
        clients[i].fd = upgrade(atoi(argv[1]), i, argv[3 + i % (argc - 3)]);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &event)) die("epoll_ctl");
    }
    puts("ready"); fflush(stdout);
    while (left) {
        struct epoll_event events[256];
        int found = epoll_wait(poll, events, 256, -1);
        for (int n = 0; n < found; n++) {
            struct client *client = &clients[events[n].data.u32];
            ssize_t size = read(client->fd, buffer, sizeof buffer);
            if (size > 0) { take(client, buffer, size); continue; }
            close(client->fd); left--;
        }
    }
    for (int i = 0; i < count; i++) printf("%lu %lu\n", clients[i].messages, clients[i].bytes);
    return 0;
}
