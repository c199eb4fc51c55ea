/* The measure for the decoder: a plain loop over a nanosecond pcap, little-endian, in C.

   It reads the file in the same windows, fills the same columns for the same batch of rows, keeps the
   same frames and counts the same things as analyzers.capture.decode does for Ethernet with VLAN tags,
   IPv4 and IPv6, RoCEv2 and PFC; mirror encapsulations and the other link types are left out, which can
   only make it faster. Build: gcc -O3 -march=native decode.c. Usage: decode FILE [WINDOW_BYTES [ROWS [REPEAT]]]
   prints for each repetition the CPU seconds, then packets, kept rows and a sum over some columns. */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

enum { MAX_ROWS = 1 << 20 };
enum { RETH = 1, AETH = 2, IMMDT = 4, ATOMICETH = 8, ATOMICACKETH = 16, IETH = 64, BTH = 256 };
enum { TRUNCATED = 1, BAD_LENGTH = 2, UNKNOWN_OPCODE = 4, NOT_ROCE = 5 };
enum { PACKETS, WIRE, KEPT, ROCE, CNPS, PFCS, CE, UNORDERED, FIRST, LAST, FAULTS, TALLY = 32 };

/* The columns are not static, so that the compiler may not leave out those nobody reads. */
i64 ts[MAX_ROWS], offset[MAX_ROWS], frame_no[MAX_ROWS], icrc_at[MAX_ROWS], l3_at[MAX_ROWS];
u64 src_hi[MAX_ROWS], src_lo[MAX_ROWS], dst_hi[MAX_ROWS], dst_lo[MAX_ROWS];
u64 va[MAX_ROWS], swap[MAX_ROWS], compare[MAX_ROWS], original[MAX_ROWS];
u32 captured[MAX_ROWS], wire_bytes[MAX_ROWS], ip_bytes[MAX_ROWS], qpn[MAX_ROWS], psn[MAX_ROWS];
u32 payload[MAX_ROWS], msn[MAX_ROWS], rkey[MAX_ROWS], dma[MAX_ROWS], imm[MAX_ROWS];
u16 iface[MAX_ROWS], headers[MAX_ROWS], ip_id[MAX_ROWS], vlan[MAX_ROWS], sport[MAX_ROWS];
u16 pkey[MAX_ROWS], vector[MAX_ROWS], quanta[MAX_ROWS][8];
u8 kind[MAX_ROWS], fault[MAX_ROWS], version[MAX_ROWS], ttl[MAX_ROWS], tos[MAX_ROWS];
u8 priority[MAX_ROWS], wrap[MAX_ROWS], opcode[MAX_ROWS], bth1[MAX_ROWS], bth4[MAX_ROWS];
u8 ack_request[MAX_ROWS], syndrome[MAX_ROWS];
i64 tally[TALLY];
static u16 follow_of[256], size_of[256];

static inline u16 be16(const u8 *p) { u16 v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
static inline u32 be32(const u8 *p) { u32 v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static inline u64 be64(const u8 *p) { u64 v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
static inline u32 le32(const u8 *p) { u32 v; memcpy(&v, p, 4); return v; }

static void tables(void) {
    static const u16 rc[24] = {0, 0, 0, IMMDT, 0, IMMDT, RETH, 0, 0, IMMDT, RETH, RETH | IMMDT, RETH,
                               AETH, 0, AETH, AETH, AETH, AETH | ATOMICACKETH, ATOMICETH, ATOMICETH,
                               0, IETH, IETH};
    for (int op = 0; op < 256; op++) {
        int low = op & 31, service = op >> 5, known = low < 24 && low != 21;
        known = known && (service == 0 || (service == 1 && low < 12));
        if (known) follow_of[op] = BTH | rc[low];
        if (op == 0x81) follow_of[op] = BTH;
        int f = follow_of[op], n = 12;
        n += (f & RETH ? 16 : 0) + (f & AETH ? 4 : 0) + (f & IMMDT ? 4 : 0) + (f & ATOMICETH ? 28 : 0);
        size_of[op] = n + (f & ATOMICACKETH ? 8 : 0) + (f & IETH ? 4 : 0);
    }
}

/* The BTH at p and what follows it; returns the fault. */
static inline int transport(int r, const u8 *p, const u8 *limit, const u8 *end, const u8 *base) {
    u32 first = be32(p), second = be32(p + 4), third = be32(p + 8);
    int op = first >> 24, pad = first >> 20 & 3, bad = 0;
    opcode[r] = op, bth1[r] = first >> 16, pkey[r] = first, bth4[r] = second >> 24;
    qpn[r] = second & 0xFFFFFF, ack_request[r] = third >> 31, psn[r] = third & 0xFFFFFF;
    icrc_at[r] = limit == end ? end - 4 - base : -1;
    int follow = follow_of[op], read = BTH;
    i64 room = end - p - size_of[op] - 4;
    payload[r] = room > pad ? room - pad : 0;
    const u8 *q = p + 12;
    if (!follow) bad = UNKNOWN_OPCODE;
    else if (op == 0x81) payload[r] = 0;
    else if (room < 0) bad = BAD_LENGTH;
    else {
        if (follow & RETH && q + 16 <= limit)
            va[r] = be64(q), rkey[r] = be32(q + 8), dma[r] = be32(q + 12), read |= RETH, q += 16;
        if (follow & ATOMICETH && q + 28 <= limit)
            va[r] = be64(q), rkey[r] = be32(q + 8), swap[r] = be64(q + 12), compare[r] = be64(q + 20),
            read |= ATOMICETH, q += 28;
        if (follow & AETH && q + 4 <= limit)
            syndrome[r] = *q, msn[r] = be32(q) & 0xFFFFFF, read |= AETH, q += 4;
        if (follow & ATOMICACKETH && q + 8 <= limit) original[r] = be64(q), read |= ATOMICACKETH, q += 8;
        if (follow & IMMDT && q + 4 <= limit) imm[r] = be32(q), read |= IMMDT, q += 4;
        if (follow & IETH && q + 4 <= limit) rkey[r] = be32(q), read |= IETH;
        if (read != follow) bad = TRUNCATED;
        else if (room < pad) bad = BAD_LENGTH;
    }
    headers[r] = read;
    if (!bad && be16(p - 4) != end - p + 8) bad = BAD_LENGTH;
    return bad;
}

/* One frame into row r; returns 1 where the row is kept. */
static inline int frame(int r, const u8 *p, const u8 *limit, const u8 *base) {
    kind[r] = fault[r] = 0;
    if (p + 14 > limit) { fault[r] = TRUNCATED; return 1; }
    const u8 *q = p + 14, *end;
    int type = be16(p + 12);
    vlan[r] = 0xFFFF, priority[r] = 255, wrap[r] = 0;
    while (type == 0x8100 || type == 0x88A8 || type == 0x9100) {
        if (q + 4 > limit) { fault[r] = TRUNCATED; return 1; }
        int tag = be16(q);
        vlan[r] = tag & 0xFFF, priority[r] = tag >> 13, type = be16(q + 2), q += 4;
    }
    if (type == 0x0800) {
        if (q + 20 > limit) { fault[r] = TRUNCATED; return 1; }
        if (q[0] >> 4 != 4 || q[9] != 17) return 0;
        int size = (q[0] & 15) * 4, total = be16(q + 2);
        src_hi[r] = dst_hi[r] = 0;
        src_lo[r] = 0xFFFFull << 32 | be32(q + 12), dst_lo[r] = 0xFFFFull << 32 | be32(q + 16);
        version[r] = 4, ip_bytes[r] = total, ip_id[r] = be16(q + 4), ttl[r] = q[8], tos[r] = q[1];
        l3_at[r] = q - base;
        if (size < 20 || total < size) { fault[r] = BAD_LENGTH; return 1; }
        end = q + total;
        if (end < limit) limit = end;
        if (be16(q + 6) & 0x3FFF) { fault[r] = 3; return 1; }
        q += size;
    } else if (type == 0x86DD) {
        if (q + 40 > limit) { fault[r] = TRUNCATED; return 1; }
        if (q[0] >> 4 != 6 || q[6] != 17) return 0;
        src_hi[r] = be64(q + 8), src_lo[r] = be64(q + 16), dst_hi[r] = be64(q + 24), dst_lo[r] = be64(q + 32);
        version[r] = 6, ip_bytes[r] = be16(q + 4) + 40, ip_id[r] = 0, ttl[r] = q[7], tos[r] = be16(q) >> 4;
        l3_at[r] = q - base;
        end = q + ip_bytes[r];
        if (end < limit) limit = end;
        q += 40;
    } else if (type == 0x8808) {
        if (q + 20 > limit) { fault[r] = TRUNCATED; return 1; }
        if (be16(q) != 0x0101) return 0;
        src_hi[r] = dst_hi[r] = 0;
        src_lo[r] = (u64)be16(p + 6) << 32 | be32(p + 8), dst_lo[r] = (u64)be16(p) << 32 | be32(p + 2);
        kind[r] = 3, vector[r] = q[3], headers[r] = 0, version[r] = 0;
        for (int n = 0; n < 8; n++) quanta[r][n] = be16(q + 4 + 2 * n);
        tally[PFCS]++;
        return 1;
    } else return 0;
    if (q + 8 > limit) { fault[r] = q + 8 > end ? BAD_LENGTH : TRUNCATED; return 1; }
    sport[r] = be16(q);
    if (be16(q + 2) != 4791) return 0;
    q += 8;
    if (q + 16 > end) { fault[r] = NOT_ROCE; return 1; }
    if (q + 12 > limit) { fault[r] = TRUNCATED; return 1; }
    if (q[1] & 15) { fault[r] = NOT_ROCE; return 1; }
    kind[r] = 1;
    fault[r] = transport(r, q, limit, end, base);
    tally[ROCE]++;
    tally[CE] += (tos[r] & 3) == 3;
    tally[CNPS] += opcode[r] == 0x81;
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: decode FILE [WINDOW_BYTES [ROWS [REPEAT]]]\n"), 2;
    size_t capacity = argc > 2 ? strtoull(argv[2], 0, 0) : 1 << 19;
    int rows = argc > 3 ? atoi(argv[3]) : 8192, repeat = argc > 4 ? atoi(argv[4]) : 1;
    u8 *window = malloc(capacity);
    tables();
    for (int turn = 0; turn < repeat; turn++) {
        struct timespec begin, finish;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        memset(tally, 0, sizeof tally);
        tally[FIRST] = INT64_MAX, tally[LAST] = INT64_MIN;
        int file = open(argv[1], O_RDONLY), r = 0;
        size_t at = 0, end = 0, got;
        u64 sum = 0;
        i64 previous = INT64_MIN, number = 0;
        int started = 0;
        while ((got = read(file, window + end, capacity - end)) > 0) {
            end += got;
            if (!started) at = 24, started = 1;
            for (;;) {
                if (at + 16 > end) break;
                u32 length = le32(window + at + 8);
                if (at + 16 + length > end) break;
                if (r == rows) sum += psn[r - 1] + src_lo[r - 1] + payload[r / 2], r = 0;
                i64 t = le32(window + at) * 1000000000ll + le32(window + at + 4);
                ts[r] = t, offset[r] = at + 16, captured[r] = length;
                wire_bytes[r] = le32(window + at + 12), frame_no[r] = ++number, iface[r] = 0;
                tally[PACKETS]++, tally[WIRE] += wire_bytes[r];
                tally[UNORDERED] += t < previous;
                if (t < tally[FIRST]) tally[FIRST] = t;
                if (t > tally[LAST]) tally[LAST] = t;
                previous = t;
                int keep = frame(r, window + at + 16, window + at + 16 + length, window);
                if (fault[r]) tally[FAULTS + fault[r]]++;
                tally[KEPT] += keep, r += keep;
                at += 16 + length;
            }
            memmove(window, window + at, end - at);
            end -= at, at = 0, r = 0;
        }
        close(file);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &finish);
        printf("%.6f %lld %lld %llu\n",
               finish.tv_sec - begin.tv_sec + 1e-9 * (finish.tv_nsec - begin.tv_nsec),
               (long long)tally[PACKETS], (long long)tally[KEPT], (unsigned long long)sum);
    }
    return 0;
}
