// SPDX-License-Identifier: GPL-2.0 OR MIT
// SHA-256 (FIPS 180-4) of messages of `blocks` whole blocks, padded, one for each work item.
// `k` holds the 64 round constants.
#define CH(x, y, z) (((x) & (y)) ^ (~(x) & (z)))
#define MAJ(x, y, z) (((x) & (y)) ^ ((x) & (z)) ^ ((y) & (z)))
#define ROR(x, n) rotate((x), (uint)(32 - (n)))

kernel void sha256(global const uint *message, global const uint *k, global uint *digest, uint blocks)
{
	size_t id = get_global_id(0);
	uint h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	for (uint block = 0; block < blocks; block++) {
		uint w[16], s[8];

		for (int i = 0; i < 16; i++)
			w[i] = message[(id * blocks + block) * 16 + i];
		for (int i = 0; i < 8; i++)
			s[i] = h[i];
		for (int i = 0; i < 64; i++) {
			if (i >= 16) {
				uint a = w[(i + 1) & 15], b = w[(i + 14) & 15];

				w[i & 15] += (ROR(a, 7) ^ ROR(a, 18) ^ (a >> 3)) + w[(i + 9) & 15] +
					     (ROR(b, 17) ^ ROR(b, 19) ^ (b >> 10));
			}
			uint t1 = s[7] + (ROR(s[4], 6) ^ ROR(s[4], 11) ^ ROR(s[4], 25)) +
				  CH(s[4], s[5], s[6]) + k[i] + w[i & 15];
			uint t2 = (ROR(s[0], 2) ^ ROR(s[0], 13) ^ ROR(s[0], 22)) + MAJ(s[0], s[1], s[2]);

			for (int j = 7; j > 0; j--)
				s[j] = s[j - 1];
			s[4] += t1;
			s[0] = t1 + t2;
		}
		for (int i = 0; i < 8; i++)
			h[i] += s[i];
	}
	for (int i = 0; i < 8; i++)
		digest[id * 8 + i] = h[i];
}
