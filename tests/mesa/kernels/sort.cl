// SPDX-License-Identifier: GPL-2.0 OR MIT
// One step of a bitonic sort: `size` words are in order after it, `stride` apart are compared.
kernel void sort(global uint *words, uint size, uint stride)
{
	uint i = get_global_id(0);
	uint j = i ^ stride;

	if (j > i) {
		uint a = words[i], b = words[j];

		if ((a > b) == ((i & size) == 0)) {
			words[i] = b;
			words[j] = a;
		}
	}
}
