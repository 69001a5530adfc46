// SPDX-License-Identifier: GPL-2.0 OR MIT
kernel void add(global const uint *a, global const uint *b, global uint *c)
{
	size_t i = get_global_id(0);

	c[i] = a[i] + b[i];
}
