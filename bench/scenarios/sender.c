/*
 * sender ADDRESS WARMUP PACKETS ROUNDS: what sending one UDP datagram of 64 bytes costs.
 *
 * Sends by sendmmsg(2), 64 datagrams a call, to ADDRESS port 9: first WARMUP datagrams, then ROUNDS
 * times PACKETS. Prints the nanoseconds a datagram took, one figure per round, on one line. With the
 * instruction clock a nanosecond is an instruction. Exits 1 with a message where sending fails.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, BYTES = 64, PORT = 9 };

static struct mmsghdr messages[BATCH];

static void send_packets(int sock, long packets)
{
	while (packets > 0) {
		int sent = sendmmsg(sock, messages, packets < BATCH ? packets : BATCH, 0);

		if (sent < 0)
			err(1, "sendmmsg");
		packets -= sent;
	}
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return 1e9 * time.tv_sec + time.tv_nsec;
}

int main(int argc, char **argv)
{
	static char payload[BYTES];
	struct iovec vector = { payload, sizeof(payload) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc != 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		errx(2, "usage: %s ADDRESS WARMUP PACKETS ROUNDS", argv[0]);
	if (sock < 0 || connect(sock, (struct sockaddr *)&to, sizeof(to)))
		err(1, "%s", argv[1]);
	for (int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &vector;
		messages[i].msg_hdr.msg_iovlen = 1;
	}

	long packets = atol(argv[3]);

	send_packets(sock, atol(argv[2]));
	for (long round = atol(argv[4]); round > 0; round--) {
		double started = now();

		send_packets(sock, packets);
		printf("%.1f%c", (now() - started) / packets, round > 1 ? ' ' : '\n');
		fflush(stdout);
	}
	return 0;
}
