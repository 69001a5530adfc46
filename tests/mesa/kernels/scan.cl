// SPDX-License-Identifier: GPL-2.0 OR MIT
// The inclusive prefix sum of each workgroup.
kernel void scan(global const uint *in, global uint *out, local uint *shared_words)
{
	size_t l = get_local_id(0);
	uint x = in[get_global_id(0)];

	shared_words[l] = x;
	for (size_t step = 1; step < get_local_size(0); step *= 2) {
		barrier(CLK_LOCAL_MEM_FENCE);
		uint before = l >= step ? shared_words[l - step] : 0;
		barrier(CLK_LOCAL_MEM_FENCE);
		x += before;
		shared_words[l] = x;
	}
	out[get_global_id(0)] = x;
}
