/* The load generator of the CoAP benchmark: one thread, one UDP socket for each virtual client.
 *
 * It talks to 127.0.0.1 only, judges nothing, and prints one line of JSON.
 *
 *   load fill     PORT PATH COUNT VALUE              PUT VALUE to COUNT paths
 *   load get      PORT PID PATH COUNT CLIENTS S POLL GET the paths in turn, one request a client
 *   load observe  PORT PID PATH N CHANGES S CON DUE WHEN ELSE
 *                 N observers of PATH, CHANGES times PUT. DUE of them ask with the query WHEN and
 *                 are to be told each change, the others with the query ELSE; - is no query
 *   load download PORT PID PATH S                    the whole body by Block2, again and again
 *
 * A # in PATH stands for a number from 1 to COUNT. PID is the server's: its CPU time, its waiting
 * for a CPU and its memory are read from /proc. POLL is 1 to never sleep: otherwise each datagram
 * of the server has to wake this process, which in a virtual machine costs the server 35 us.
 * Each client has its own port: an endpoint has only 65,536 message IDs in 247 s, and a server
 * that remembers them would answer from that memory. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CON, NON, ACK, RST, GET = 1, PUT = 3, OBSERVE = 6, URI_PATH = 11, FORMAT = 12, URI_QUERY = 15, BLOCK2 = 23 };
enum { LARGEST = 2048, IN_FLIGHT = 32, SZX = 6, NONE = -1 };
#define RETRY_S 2.0   /* a request unanswered for so long is sent again, and counted as lost */
#define WARM_UP_S 0.5 /* left out of the figures of `get` */

struct message {
    int type, code, observe, more;
    uint16_t mid;
    uint32_t token;
    long block;
    const uint8_t *payload;
    size_t length;
};
struct client {
    int socket, seen;
    uint16_t mid;
    uint32_t token;
    double sent;
};
struct usage {
    double cpu, wait;
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static float *delays;
static size_t delay_count, delay_room;

static void die(const char *what) {
    perror(what);
    exit(2);
}
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* --- figures --- */

static void note(double delay) {
    if (delay_count == delay_room) {
        delay_room = delay_room ? 2 * delay_room : 1 << 16;
        if (!(delays = realloc(delays, delay_room * sizeof *delays))) die("realloc");
    }
    delays[delay_count++] = (float)delay;
}
static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}
static double quantile(double q) {
    return delay_count ? delays[(size_t)(q * (delay_count - 1) + 0.5)] : 0;
}
static void sort_delays(void) { qsort(delays, delay_count, sizeof *delays, ascending); }

/* Seconds on a CPU and waiting for one, over all threads of a process. */
static struct usage usage(int pid) {
    char name[300];
    struct usage sum = {0, 0};
    snprintf(name, sizeof name, "/proc/%d/task", pid);
    DIR *tasks = opendir(name);
    if (!tasks) die(name);
    for (struct dirent *task; (task = readdir(tasks));) {
        unsigned long long cpu, wait;
        if (task->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "/proc/%d/task/%.20s/schedstat", pid, task->d_name);
        FILE *file = fopen(name, "r");
        if (!file) continue;
        if (fscanf(file, "%llu %llu", &cpu, &wait) == 2) sum.cpu += cpu * 1e-9, sum.wait += wait * 1e-9;
        fclose(file);
    }
    closedir(tasks);
    return sum;
}
static long resident_kb(int pid) {
    char line[256];
    long kb = -1;
    snprintf(line, sizeof line, "/proc/%d/status", pid);
    FILE *file = fopen(line, "r");
    if (!file) die(line);
    while (fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kb);
    fclose(file);
    return kb;
}

/* --- datagrams --- */

static size_t put_option(uint8_t *at, int *last, int number, const void *value, size_t length) {
    int delta = number - *last;
    size_t n = 1;
    *last = number;
    at[0] = (delta < 13 ? delta : 13) << 4 | (length < 13 ? length : 13);
    if (delta >= 13) at[n++] = delta - 13;
    if (length >= 13) at[n++] = length - 13;
    memcpy(at + n, value, length);
    return n + length;
}
static size_t encode(uint8_t *out, int type, int code, uint16_t mid, uint32_t token, const char *path,
                     int observe, long block, const char *payload) {
    uint8_t head[8] = {0x44 | type << 4, code, mid >> 8, mid, token >> 24, token >> 16, token >> 8, token};
    size_t n = sizeof head;
    int last = 0;
    memcpy(out, head, sizeof head);
    if (observe) n += put_option(out + n, &last, OBSERVE, "", 0);
    for (size_t length; *path && *path != '?'; path += length + (path[length] == '/')) {
        length = strcspn(path, "/?");
        n += put_option(out + n, &last, URI_PATH, path, length);
    }
    if (payload) n += put_option(out + n, &last, FORMAT, "", 0); /* text */
    if (*path == '?') n += put_option(out + n, &last, URI_QUERY, path + 1, strlen(path + 1));
    if (block != NONE) {
        uint32_t value = htonl((uint32_t)block << 4 | SZX);
        size_t length = block >= 4096 ? 3 : block >= 16 ? 2 : 1;
        n += put_option(out + n, &last, BLOCK2, (uint8_t *)&value + 4 - length, length);
    }
    if (payload) {
        out[n++] = 0xFF;
        memcpy(out + n, payload, strlen(payload));
        n += strlen(payload);
    }
    return n;
}
/* Tokens have 0 or 4 octets here; false if it is no message that this program could have asked for. */
static int decode(const uint8_t *in, ssize_t size, struct message *m) {
    int number = 0;
    ssize_t at = 4 + (size > 0 ? in[0] & 15 : 0);
    *m = (struct message){.observe = NONE, .block = NONE};
    if (size < 4 || in[0] >> 6 != 1 || at > size) return 0;
    m->type = in[0] >> 4 & 3, m->code = in[1], m->mid = in[2] << 8 | in[3];
    for (ssize_t i = 4; i < at; i++) m->token = m->token << 8 | in[i];
    while (at < size && in[at] != 0xFF) {
        int delta = in[at] >> 4, length = in[at] & 15;
        uint32_t value = 0;
        at++;
        if (delta == 13 && at < size) delta = in[at++] + 13;
        else if (delta > 13) return 0;
        if (length == 13 && at < size) length = in[at++] + 13;
        else if (length > 13) return 0;
        if (at + length > size) return 0;
        for (int i = 0; i < length; i++) value = value << 8 | in[at + i];
        number += delta;
        at += length;
        if (number == OBSERVE) m->observe = value;
        if (number == BLOCK2) m->block = value >> 4, m->more = value >> 3 & 1;
    }
    if (at < size) m->payload = in + at + 1, m->length = size - at - 1;
    return 1;
}

/* --- clients --- */

static int open_socket(void) {
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (s < 0) die("socket");
    if (connect(s, (struct sockaddr *)&server, sizeof server)) die("connect");
    return s;
}
static struct client *open_clients(int count, int poll) {
    struct rlimit files = {count + 100, count + 100};
    struct client *clients = calloc(count, sizeof *clients);
    if (!clients) die("calloc");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < count; i++) {
        struct epoll_event interest = {.events = EPOLLIN, .data.u32 = i};
        clients[i] = (struct client){.socket = open_socket(), .mid = rand(), .token = i << 12};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].socket, &interest)) die("epoll_ctl");
    }
    return clients;
}
/* The next message; false if there is none. Confirmable ones are acknowledged here. */
static int hear(int s, uint8_t *buffer, struct message *m) {
    for (ssize_t n; (n = recv(s, buffer, LARGEST, 0)) >= 0;) {
        if (!decode(buffer, n, m) || !m->code) continue;
        if (m->type == CON) {
            uint8_t ack[4] = {0x60, 0, m->mid >> 8, m->mid};
            send(s, ack, sizeof ack, 0);
        }
        return 1;
    }
    if (errno != EAGAIN && errno != ECONNREFUSED) die("recv");
    return 0;
}
static void ask(struct client *c, int type, int code, const char *path, int observe, long block,
                const char *payload) {
    uint8_t out[LARGEST];
    size_t n = encode(out, type, code, ++c->mid, ++c->token, path, observe, block, payload);
    c->sent = now();
    if (send(c->socket, out, n, 0) < 0 && errno != ECONNREFUSED && errno != EAGAIN) die("send");
}
/* Asks the same again, as a new message, until it is answered; false after 15 s. */
static int exchange(int poll, struct client *c, int code, const char *path, long block,
                    const char *payload, uint8_t *buffer, struct message *m, int *lost) {
    for (int tries = 0; tries < 5; tries++) {
        ask(c, CON, code, path, 0, block, payload);
        for (double end = now() + 3; now() < end;) {
            struct epoll_event event;
            epoll_wait(poll, &event, 1, 100);
            while (hear(c->socket, buffer, m))
                if (m->token == c->token) return 1;
        }
        ++*lost;
    }
    return 0;
}
static const char *numbered(const char *path, int number) {
    static char text[256];
    const char *mark = strchr(path, '#');
    if (!mark) return path;
    snprintf(text, sizeof text, "%.*s%d%s", (int)(mark - path), path, number, mark + 1);
    return text;
}

/* --- modes --- */

static void fill(const char *path, int count, const char *value) {
    int poll = epoll_create1(0), lost = 0, refused = 0;
    struct client *c = open_clients(1, poll);
    uint8_t buffer[LARGEST];
    struct message m;
    for (int i = 1; i <= count; i++)
        if (!exchange(poll, c, PUT, numbered(path, i), NONE, value, buffer, &m, &lost) || m.code >> 5 != 2)
            refused++;
    printf("{\"refused\": %d, \"lost\": %d}\n", refused, lost);
}

static void get(int pid, const char *path, int count, int clients, double seconds, int polling) {
    int poll = epoll_create1(0), turn = 0, warm = 0;
    long answers = 0, errors = 0, lost = 0;
    struct client *all = open_clients(clients, poll);
    struct epoll_event events[64];
    struct usage theirs = usage(pid), ours = usage(getpid());
    uint8_t buffer[LARGEST];
    struct message m;
    double begun = now(), checked = begun, t;
    for (int i = 0; i < clients; i++) ask(&all[i], CON, GET, numbered(path, turn++ % count + 1), 0, NONE, NULL);
    while ((t = now()) < begun + seconds || !warm) {
        if (!warm && t > begun + WARM_UP_S) {
            warm = 1, begun = t, answers = errors = lost = 0, delay_count = 0;
            theirs = usage(pid), ours = usage(getpid());
        }
        if (t > checked + 0.25) {
            checked = t;
            for (int i = 0; i < clients; i++)
                if (t > all[i].sent + RETRY_S) {
                    lost++;
                    ask(&all[i], CON, GET, numbered(path, turn++ % count + 1), 0, NONE, NULL);
                }
        }
        int ready = epoll_wait(poll, events, 64, polling ? 0 : 100);
        for (int i = 0; i < ready; i++) {
            struct client *c = &all[events[i].data.u32];
            while (hear(c->socket, buffer, &m)) {
                if (m.token != c->token) continue;
                note(now() - c->sent);
                m.code >> 5 == 2 ? answers++ : errors++;
                ask(c, CON, GET, numbered(path, turn++ % count + 1), 0, NONE, NULL);
            }
        }
    }
    double elapsed = now() - begun;
    struct usage their_end = usage(pid), our_end = usage(getpid());
    sort_delays();
    printf("{\"per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu_us\": %.2f, \"errors\": %ld, \"lost\": %ld, "
           "\"server_wait\": %.3f, \"load_wait\": %.3f, \"rss_kb\": %ld}\n",
           answers / elapsed, quantile(.5) * 1e6, quantile(.99) * 1e6,
           answers ? (their_end.cpu - theirs.cpu) * 1e6 / answers : 0, errors, lost,
           (their_end.wait - theirs.wait) / elapsed, (our_end.wait - ours.wait) / elapsed, resident_kb(pid));
}

/* Registers the clients as observers, some of one path and the others of another; how many were accepted. */
static int register_observers(int poll, struct client *all, int count, int type, int due,
                              const char *first, const char *rest) {
#define PATH_OF(i) ((i) < due ? first : rest)
    int next = 0, answered = 0, accepted = 0;
    struct epoll_event events[256];
    uint8_t buffer[LARGEST];
    struct message m;
    for (double end = now() + 30; answered < count && now() < end;) {
        for (; next < count && next - answered < IN_FLIGHT; next++)
            ask(&all[next], type, GET, PATH_OF(next), 1, NONE, NULL);
        int ready = epoll_wait(poll, events, 256, 100);
        for (int i = 0; i < ready; i++) {
            struct client *c = &all[events[i].data.u32];
            while (hear(c->socket, buffer, &m))
                if (m.token == c->token && !c->seen) c->seen = 1, answered++, accepted += m.observe != NONE;
        }
        for (int i = 0; !ready && i < next; i++)
            if (!all[i].seen && now() > all[i].sent + RETRY_S)
                ask(&all[i], type, GET, PATH_OF(i), 1, NONE, NULL);
    }
    return accepted;
}

static const char *with_query(const char *path, const char *query, char *room, size_t size) {
    snprintf(room, size, "%s?%s", path, query);
    return strcmp(query, "-") ? room : path;
}
static void observe(int pid, const char *path, int count, int changes, double timeout, int type, int due,
                    const char *when, const char *otherwise) {
    char rooms[2][256];
    const char *first = with_query(path, when, rooms[0], sizeof rooms[0]);
    const char *rest = with_query(path, otherwise, rooms[1], sizeof rooms[1]);
    int poll = epoll_create1(0), trigger_poll = epoll_create1(0), refused = 0;
    struct client *all = open_clients(count, poll), *trigger = open_clients(1, trigger_poll);
    struct epoll_event events[256];
    uint8_t buffer[LARGEST];
    struct message m;
    long before = resident_kb(pid);
    double begun = now();
    int accepted = register_observers(poll, all, count, type, due, first, rest);
    double registering = now() - begun;
    printf("{\"accepted\": %d, \"register_s\": %.3f, \"changes\": [", accepted, registering);
    for (int change = 0; change < changes; change++) {
        const char *value = change % 2 ? "0" : "1"; /* the resource held 0 at first */
        int reached = 0, others = 0;
        for (int i = 0; i < count; i++) all[i].seen = 0;
        struct usage start = usage(pid);
        double last = begun = now();
        ask(trigger, CON, PUT, path, 0, NONE, value);
        while (reached < due && now() < begun + timeout) {
            int ready = epoll_wait(poll, events, 256, 20);
            for (int i = 0; i < ready; i++) {
                struct client *c = &all[events[i].data.u32];
                while (hear(c->socket, buffer, &m)) {
                    if (c->seen || c - all >= due || m.length != 1 || m.payload[0] != value[0]) others++;
                    else c->seen = 1, reached++, last = now();
                }
            }
        }
        while (hear(trigger->socket, buffer, &m)) refused += m.code >> 5 != 2;
        usleep(50000); /* the last acknowledgements are the server's work too */
        struct usage end = usage(pid);
        printf("%s{\"reached\": %d, \"last_s\": %.6f, \"cpu_us\": %.2f, \"others\": %d, \"wait_s\": %.4f}",
               change ? ", " : "", reached, last - begun, reached ? (end.cpu - start.cpu) * 1e6 / reached : 0,
               others, end.wait - start.wait);
        usleep(200000);
    }
    printf("], \"refused\": %d, \"bytes\": %.0f}\n", refused, (resident_kb(pid) - before) * 1024.0 / count);
}

static void download(int pid, const char *path, double seconds) {
    int poll = epoll_create1(0), lost = 0, links = 0;
    long blocks = 0, octets = 0, bodies = 0;
    struct client *c = open_clients(1, poll);
    uint8_t buffer[LARGEST];
    struct message m = {0};
    struct usage start = usage(pid);
    long before = resident_kb(pid);
    double begun = now(), body = 0;
    do {
        double body_begun = now();
        octets = links = 0;
        for (long number = 0, more = 1; more; number++) {
            if (!exchange(poll, c, GET, path, number, NULL, buffer, &m, &lost) || m.code >> 5 != 2) {
                printf("{\"error\": \"block %ld: code %d.%02d\"}\n", number, m.code >> 5, m.code & 31);
                return;
            }
            note(now() - c->sent);
            octets += m.length, blocks++, more = m.block != NONE && m.more;
            for (size_t i = 0; i < m.length; i++) links += m.payload[i] == '<';
        }
        body += now() - body_begun, bodies++;
    } while (now() < begun + seconds);
    struct usage end = usage(pid);
    sort_delays();
    printf("{\"bodies\": %ld, \"body_s\": %.4f, \"octets\": %ld, \"links\": %d, \"blocks_per_s\": %.0f, "
           "\"cpu_us\": %.2f, \"p50_us\": %.0f, \"max_us\": %.0f, \"lost\": %d, \"rss_kb\": %ld, \"grown_kb\": %ld}\n",
           bodies, body / bodies, octets, links, blocks / body, (end.cpu - start.cpu) * 1e6 / blocks,
           quantile(.5) * 1e6, quantile(1) * 1e6, lost, resident_kb(pid), resident_kb(pid) - before);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    srand(getpid() ^ time(NULL));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (argc > 2) server.sin_port = htons(atoi(argv[2]));
    if (argc == 6 && !strcmp(mode, "fill")) fill(argv[3], atoi(argv[4]), argv[5]);
    else if (argc == 9 && !strcmp(mode, "get"))
        get(atoi(argv[3]), argv[4], atoi(argv[5]), atoi(argv[6]), atof(argv[7]), atoi(argv[8]));
    else if (argc == 12 && !strcmp(mode, "observe"))
        observe(atoi(argv[3]), argv[4], atoi(argv[5]), atoi(argv[6]), atof(argv[7]), atoi(argv[8]) ? CON : NON,
                atoi(argv[9]), argv[10], argv[11]);
    else if (argc == 6 && !strcmp(mode, "download")) download(atoi(argv[3]), argv[4], atof(argv[5]));
    else return fputs("load: see the head of load.c\n", stderr), 1;
    return 0;
}
