// SPDX-License-Identifier: GPL-2.0 OR MIT
// Products of square matrices, by rows.
kernel void matmul(global const float *a, global const float *b, global float *c, uint n)
{
	size_t x = get_global_id(0), y = get_global_id(1);
	float sum = 0.0f;

	for (uint i = 0; i < n; i++)
		sum += a[y * n + i] * b[i * n + x];
	c[y * n + x] = sum;
}
