// SPDX-License-Identifier: GPL-2.0 OR MIT
// Each invocation mixes its word for as many rounds as the word says; the sum of a
// workgroup goes through its memory, and the sum of all through an atomic.

struct Sums {
    total: atomic<u32>,
    groups: array<u32>,
}

@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> mixed: array<u32>;
@group(0) @binding(2) var<storage, read_write> sums: Sums;

var<workgroup> part: array<u32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    var x = words[id.x];
    let rounds = x & 7u;
    for (var i = 0u; i < rounds; i++) {
        if (x & 1u) == 0u {
            x = x / 2u + i;
        } else {
            x = x * 3u + 1u;
        }
        x ^= x >> 15u;
    }
    mixed[id.x] = x;
    part[local] = x;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if local < step {
            part[local] += part[local + step];
        }
        workgroupBarrier();
    }
    if local == 0u {
        sums.groups[group.x] = part[0];
        atomicAdd(&sums.total, part[0]);
    }
}
