// SPDX-License-Identifier: GPL-2.0 OR MIT
// The sum of each workgroup, and of all.
kernel void reduce(global const uint *in, global uint *parts, global uint *total, local uint *shared_words)
{
	size_t l = get_local_id(0);

	shared_words[l] = in[get_global_id(0)];
	barrier(CLK_LOCAL_MEM_FENCE);
	for (size_t step = get_local_size(0) / 2; step > 0; step /= 2) {
		if (l < step)
			shared_words[l] += shared_words[l + step];
		barrier(CLK_LOCAL_MEM_FENCE);
	}
	if (l == 0) {
		parts[get_group_id(0)] = shared_words[0];
		atomic_add(total, shared_words[0]);
	}
}
