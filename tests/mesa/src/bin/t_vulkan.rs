// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Vulkan on PanVK: transfers, timestamps, events, timeline semaphores, a compute shader and a
//! cleared image, every byte checked.

use ash::vk;
use e2e::{cases, check, eq, fail, Res};
use mesa::vulkan::{barrier, Called, Gpu, PATIENCE};
use mesa::{differ, words};
use std::process::ExitCode;

fn same<T: PartialEq + std::fmt::Debug>(got: &[T], want: &[T]) -> Res {
    match differ(got, want) {
        None => Ok(()),
        Some(text) => fail!("{text}"),
    }
}

/// A device, a command buffer without commands, on both queues.
fn empty() -> Res {
    let gpu = Gpu::open()?;
    for queue in 0..2 {
        for _ in 0..3 {
            let cmd = gpu.record(|_, _| Ok(()))?;
            let fence = gpu.submit(queue, cmd)?;
            gpu.wait(fence)?;
        }
    }
    Ok(())
}

/// Several ranges of a buffer are filled; what lies between stays.
fn fill() -> Res {
    const SIZE: u64 = 256 << 10;
    let gpu = Gpu::open()?;
    let buffer = gpu.buffer(SIZE, 0xee)?;
    let ranges = [
        (0, 4, 0x0102_0304),
        (64, 60, 0xdead_beef),
        (4096, 65536, 0x5555_aaaa),
        (SIZE - 1028, 1024, 7),
    ];
    gpu.run(|device, cmd| {
        for (offset, size, value) in ranges {
            // SAFETY: the ranges lie in the buffer.
            unsafe { device.cmd_fill_buffer(cmd, buffer.buffer, offset, size, value) };
        }
        barrier(device, cmd);
        Ok(())
    })?;
    let mut want = vec![0xee; SIZE as usize];
    for (offset, size, value) in ranges {
        for word in want[offset as usize..(offset + size) as usize].chunks_exact_mut(4) {
            word.copy_from_slice(&u32::to_le_bytes(value));
        }
    }
    same(buffer.bytes(), &want)
}

/// Regions of all alignments are copied.
fn copy() -> Res {
    const SIZE: u64 = 128 << 10;
    let gpu = Gpu::open()?;
    let mut from = gpu.buffer(SIZE, 0)?;
    from.put_words(&words(3, SIZE as usize / 4));
    let to = gpu.buffer(SIZE, 0x11)?;
    // From, to, bytes.
    let regions = [
        (0, 0, 1),
        (1, 3, 2),
        (100, 17, 33),
        (4096, 256, 16384),
        (4099, 20001, 4097),
        (50000, 60002, 30001),
        (SIZE - 64, SIZE - 64, 64),
    ];
    gpu.run(|device, cmd| {
        let regions = regions.map(|(src_offset, dst_offset, size)| vk::BufferCopy {
            src_offset,
            dst_offset,
            size,
        });
        // SAFETY: the regions lie in the buffers and do not overlap.
        unsafe { device.cmd_copy_buffer(cmd, from.buffer, to.buffer, &regions) };
        barrier(device, cmd);
        Ok(())
    })?;
    let mut want = vec![0x11; SIZE as usize];
    for (src, dst, size) in regions {
        let [src, dst, size] = [src, dst, size].map(|n| n as usize);
        want[dst..dst + size].copy_from_slice(&from.bytes()[src..src + size]);
    }
    same(to.bytes(), &want)
}

/// Data comes with the command buffer.
fn update() -> Res {
    const SIZE: usize = 128 << 10;
    let gpu = Gpu::open()?;
    let buffer = gpu.buffer(SIZE as u64, 0x77)?;
    let data: Vec<u8> = words(5, SIZE / 4)
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    let ranges = [(0, 4), (260, 1024), (4096, 65536), (SIZE - 20, 20)];
    gpu.run(|device, cmd| {
        for (offset, size) in ranges {
            let part = &data[offset..offset + size];
            // SAFETY: the ranges lie in the buffer.
            unsafe { device.cmd_update_buffer(cmd, buffer.buffer, offset as u64, part) };
        }
        barrier(device, cmd);
        Ok(())
    })?;
    let mut want = vec![0x77; SIZE];
    for (offset, size) in ranges {
        want[offset..offset + size].copy_from_slice(&data[offset..offset + size]);
    }
    same(buffer.bytes(), &want)
}

/// Commands of one command buffer, each of which needs the one before.
fn chain() -> Res {
    const SIZE: u64 = 4096;
    const TIMES: u32 = 16;
    let gpu = Gpu::open()?;
    let a = gpu.buffer(SIZE, 0)?;
    let b = gpu.buffer(SIZE * u64::from(TIMES), 0)?;
    gpu.run(|device, cmd| {
        for i in 0..TIMES {
            let region = [vk::BufferCopy {
                src_offset: 0,
                dst_offset: SIZE * u64::from(i),
                size: SIZE,
            }];
            // SAFETY: all lies in the buffers.
            unsafe { device.cmd_fill_buffer(cmd, a.buffer, 0, SIZE, i + 100) };
            barrier(device, cmd);
            // SAFETY: as above.
            unsafe { device.cmd_copy_buffer(cmd, a.buffer, b.buffer, &region) };
            barrier(device, cmd);
        }
        Ok(())
    })?;
    let want: Vec<u32> = (0..TIMES).flat_map(|i| [i + 100; 1024]).collect();
    same(&b.words(), &want)
}

/// Timestamps run, and go by the period that is promised.
fn timestamps() -> Res {
    let gpu = Gpu::open()?;
    let info = vk::QueryPoolCreateInfo::default()
        .query_type(vk::QueryType::TIMESTAMP)
        .query_count(4);
    // SAFETY: the structure is complete.
    let pool = unsafe { gpu.device.create_query_pool(&info, None) }.called("vkCreateQueryPool")?;
    let buffer = gpu.buffer(1 << 20, 0)?;
    let started = std::time::Instant::now();
    gpu.run(|device, cmd| {
        // SAFETY: the queries exist, and the range is the buffer.
        unsafe {
            device.cmd_reset_query_pool(cmd, pool, 0, 4);
            device.cmd_write_timestamp(cmd, vk::PipelineStageFlags::TOP_OF_PIPE, pool, 0);
            device.cmd_fill_buffer(cmd, buffer.buffer, 0, vk::WHOLE_SIZE, 1);
            barrier(device, cmd);
            device.cmd_write_timestamp(cmd, vk::PipelineStageFlags::BOTTOM_OF_PIPE, pool, 1);
            device.cmd_write_timestamp(cmd, vk::PipelineStageFlags::BOTTOM_OF_PIPE, pool, 2);
        }
        Ok(())
    })?;
    let took = started.elapsed().as_nanos();
    let mut t = [0u64; 3];
    let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
    // SAFETY: the pool has so many queries, all of which were written.
    unsafe { gpu.device.get_query_pool_results(pool, 0, &mut t, flags) }
        .called("vkGetQueryPoolResults")?;
    // SAFETY: the device is valid.
    let properties = unsafe { gpu.instance.get_physical_device_properties(gpu.physical) };
    let period = f64::from(properties.limits.timestamp_period);
    check!(t[0] != 0, "no timestamp");
    check!(t[0] < t[1] && t[1] <= t[2], "{t:?} are not in order");
    let ns = (t[2] - t[0]) as f64 * period;
    check!(ns < took as f64, "{ns} ns in {took} ns");
    Ok(())
}

/// Events set by either side, and waited for by the GPU.
fn events() -> Res {
    let gpu = Gpu::open()?;
    let info = vk::EventCreateInfo::default();
    let mut event = [vk::Event::null(); 3];
    for e in &mut event {
        // SAFETY: the structure is complete.
        *e = unsafe { gpu.device.create_event(&info, None) }.called("vkCreateEvent")?;
    }
    let [go, half, gone] = event;
    // SAFETY: the event is valid.
    let set = |e| unsafe { gpu.device.get_event_status(e) }.called("vkGetEventStatus");
    let buffer = gpu.buffer(8192, 0)?;
    let all = vk::PipelineStageFlags::ALL_COMMANDS;
    let cmd = gpu.record(|device, cmd| {
        // SAFETY: handles and ranges are valid; the host sets the event that is waited for first.
        unsafe {
            // PanVK's queues do not wait if the stage of the host is the only one.
            let host = vk::PipelineStageFlags::HOST | all;
            device.cmd_wait_events(cmd, &[go], host, all, &[], &[], &[]);
            device.cmd_fill_buffer(cmd, buffer.buffer, 0, 4096, 0x1111_1111);
            barrier(device, cmd);
            device.cmd_set_event(cmd, half, all);
            device.cmd_wait_events(cmd, &[half], all, all, &[], &[], &[]);
            device.cmd_fill_buffer(cmd, buffer.buffer, 4096, 4096, 0x2222_2222);
            barrier(device, cmd);
            device.cmd_set_event(cmd, gone, all);
            device.cmd_reset_event(cmd, half, all);
        }
        Ok(())
    })?;
    let fence = gpu.submit(0, cmd)?;
    // The GPU waits, and does not go past.
    std::thread::sleep(std::time::Duration::from_millis(300));
    // SAFETY: the fence is valid.
    check!(!unsafe { gpu.device.get_fence_status(fence) }.called("vkGetFenceStatus")?);
    check!(!set(half)? && !set(gone)?);
    // SAFETY: the event is valid.
    unsafe { gpu.device.set_event(go) }.called("vkSetEvent")?;
    gpu.wait(fence)?;
    check!(set(gone)?, "not set by the GPU");
    check!(!set(half)?, "not reset by the GPU");
    let want: Vec<u32> = [[0x1111_1111; 1024], [0x2222_2222; 1024]].concat();
    same(&buffer.words(), &want)
}

/// Two queues take turns with a buffer, by one timeline semaphore; the host begins.
fn timelines() -> Res {
    const TURNS: u32 = 8;
    const WORDS: u64 = 256;
    let gpu = Gpu::open()?;
    let mut kind = vk::SemaphoreTypeCreateInfo::default()
        .semaphore_type(vk::SemaphoreType::TIMELINE)
        .initial_value(10);
    let info = vk::SemaphoreCreateInfo::default().push_next(&mut kind);
    // SAFETY: the structure is complete.
    let semaphore =
        unsafe { gpu.device.create_semaphore(&info, None) }.called("vkCreateSemaphore")?;
    let a = gpu.buffer(WORDS * 4, 0)?;
    let log = gpu.buffer(WORDS * 4 * u64::from(TURNS), 0)?;
    for turn in 0..TURNS {
        let cmd = gpu.record(|device, cmd| {
            let region = [vk::BufferCopy {
                src_offset: 0,
                dst_offset: WORDS * 4 * u64::from(turn),
                size: WORDS * 4,
            }];
            // SAFETY: all lies in the buffers.
            unsafe {
                device.cmd_copy_buffer(cmd, a.buffer, log.buffer, &region);
                barrier(device, cmd);
                device.cmd_fill_buffer(cmd, a.buffer, 0, vk::WHOLE_SIZE, turn + 1);
            }
            barrier(device, cmd);
            Ok(())
        })?;
        let (waits, signals) = ([11 + u64::from(turn)], [12 + u64::from(turn)]);
        let mut values = vk::TimelineSemaphoreSubmitInfo::default()
            .wait_semaphore_values(&waits)
            .signal_semaphore_values(&signals);
        let (cmds, semaphores) = ([cmd], [semaphore]);
        let stages = [vk::PipelineStageFlags::ALL_COMMANDS];
        let info = [vk::SubmitInfo::default()
            .command_buffers(&cmds)
            .wait_semaphores(&semaphores)
            .wait_dst_stage_mask(&stages)
            .signal_semaphores(&semaphores)
            .push_next(&mut values)];
        let queue = gpu.queues[turn as usize % 2];
        // SAFETY: all handles are valid, and the queues are used by this thread only.
        unsafe { gpu.device.queue_submit(queue, &info, vk::Fence::null()) }
            .called("vkQueueSubmit")?;
    }
    // SAFETY: the semaphore is valid.
    let value = || unsafe { gpu.device.get_semaphore_counter_value(semaphore) };
    eq!(value().called("vkGetSemaphoreCounterValue")?, 10);
    let info = vk::SemaphoreSignalInfo::default()
        .semaphore(semaphore)
        .value(11);
    // SAFETY: the value is larger than the one there.
    unsafe { gpu.device.signal_semaphore(&info) }.called("vkSignalSemaphore")?;
    let (semaphores, last) = ([semaphore], [11 + u64::from(TURNS)]);
    let info = vk::SemaphoreWaitInfo::default()
        .semaphores(&semaphores)
        .values(&last);
    // SAFETY: the structure is complete.
    unsafe { gpu.device.wait_semaphores(&info, PATIENCE) }.called("vkWaitSemaphores")?;
    eq!(value().called("vkGetSemaphoreCounterValue")?, last[0]);
    let want: Vec<u32> = (0..TURNS).flat_map(|turn| [turn; WORDS as usize]).collect();
    same(&log.words(), &want)
}

/// What `shaders/mix.wgsl` does to a word.
fn mix(word: u32) -> u32 {
    let mut x = word;
    for i in 0..word & 7 {
        x = if x & 1 == 0 {
            x / 2 + i
        } else {
            x.wrapping_mul(3).wrapping_add(1)
        };
        x ^= x >> 15;
    }
    x
}

/// A compute shader with loops, branches, workgroup memory, barriers and an atomic.
fn compute() -> Res {
    const GROUPS: usize = 24;
    let gpu = Gpu::open()?;
    let device = &gpu.device;
    let input = words(9, GROUPS * 64);
    let mut buffers = [
        gpu.buffer(GROUPS as u64 * 256, 0)?,
        gpu.buffer(GROUPS as u64 * 256, 0xff)?,
        gpu.buffer(4 + GROUPS as u64 * 4, 0)?,
    ];
    buffers[0].put_words(&input);
    let code = include_bytes!(concat!(env!("OUT_DIR"), "/mix.spv"));
    let code: Vec<u32> = code
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let bindings = [0, 1, 2].map(|n| {
        vk::DescriptorSetLayoutBinding::default()
            .binding(n)
            .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
            .descriptor_count(1)
            .stage_flags(vk::ShaderStageFlags::COMPUTE)
    });
    let sizes = [vk::DescriptorPoolSize {
        ty: vk::DescriptorType::STORAGE_BUFFER,
        descriptor_count: 3,
    }];
    // SAFETY: the structures are complete, the handles valid, and the shader is what naga checked.
    let (layout, pipeline, set) = unsafe {
        let info = vk::ShaderModuleCreateInfo::default().code(&code);
        let module = device
            .create_shader_module(&info, None)
            .called("vkCreateShaderModule")?;
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let set_layouts = [device
            .create_descriptor_set_layout(&info, None)
            .called("vkCreateDescriptorSetLayout")?];
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&set_layouts);
        let layout = device
            .create_pipeline_layout(&info, None)
            .called("vkCreatePipelineLayout")?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(c"main");
        let info = [vk::ComputePipelineCreateInfo::default()
            .stage(stage)
            .layout(layout)];
        let pipeline = device
            .create_compute_pipelines(vk::PipelineCache::null(), &info, None)
            .map_err(|(_, e)| e)
            .called("vkCreateComputePipelines")?[0];
        let info = vk::DescriptorPoolCreateInfo::default()
            .max_sets(1)
            .pool_sizes(&sizes);
        let pool = device
            .create_descriptor_pool(&info, None)
            .called("vkCreateDescriptorPool")?;
        let info = vk::DescriptorSetAllocateInfo::default()
            .descriptor_pool(pool)
            .set_layouts(&set_layouts);
        let set = device
            .allocate_descriptor_sets(&info)
            .called("vkAllocateDescriptorSets")?[0];
        for (n, buffer) in buffers.iter().enumerate() {
            let range = [vk::DescriptorBufferInfo {
                buffer: buffer.buffer,
                offset: 0,
                range: vk::WHOLE_SIZE,
            }];
            let write = [vk::WriteDescriptorSet::default()
                .dst_set(set)
                .dst_binding(n as u32)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .buffer_info(&range)];
            device.update_descriptor_sets(&write, &[]);
        }
        (layout, pipeline, set)
    };
    gpu.run(|device, cmd| {
        let point = vk::PipelineBindPoint::COMPUTE;
        // SAFETY: the handles are valid, and the buffers as large as the groups need.
        unsafe {
            device.cmd_bind_pipeline(cmd, point, pipeline);
            device.cmd_bind_descriptor_sets(cmd, point, layout, 0, &[set], &[]);
            device.cmd_dispatch(cmd, GROUPS as u32, 1, 1);
        }
        barrier(device, cmd);
        Ok(())
    })?;
    let mixed: Vec<u32> = input.iter().copied().map(mix).collect();
    same(&buffers[0].words(), &input)?;
    same(&buffers[1].words(), &mixed)?;
    let sum = |words: &[u32]| words.iter().fold(0u32, |a, b| a.wrapping_add(*b));
    let mut sums = vec![sum(&mixed)];
    sums.extend(mixed.chunks(64).map(sum));
    same(&buffers[2].words(), &sums)
}

/// A linear image is cleared by a render pass that draws nothing, and copied to a buffer. (The clear
/// outside of a render pass is a drawing with PanVK, which the board does not execute.)
fn clear_image() -> Res {
    const WIDTH: u32 = 96;
    const HEIGHT: u32 = 40;
    let gpu = Gpu::open()?;
    let info = vk::ImageCreateInfo::default()
        .image_type(vk::ImageType::TYPE_2D)
        .format(vk::Format::R8G8B8A8_UNORM)
        .extent(vk::Extent3D {
            width: WIDTH,
            height: HEIGHT,
            depth: 1,
        })
        .mip_levels(1)
        .array_layers(1)
        .samples(vk::SampleCountFlags::TYPE_1)
        .tiling(vk::ImageTiling::LINEAR)
        .usage(vk::ImageUsageFlags::TRANSFER_SRC | vk::ImageUsageFlags::COLOR_ATTACHMENT);
    // SAFETY: the structure is complete.
    let image = unsafe { gpu.device.create_image(&info, None) }.called("vkCreateImage")?;
    // SAFETY: the image is valid.
    let needs = unsafe { gpu.device.get_image_memory_requirements(image) };
    let memory = gpu.allocate(needs)?;
    // SAFETY: the memory fits the requirements.
    unsafe { gpu.device.bind_image_memory(image, memory, 0) }.called("vkBindImageMemory")?;
    let buffer = gpu.buffer(u64::from(WIDTH * HEIGHT * 4), 0)?;
    let range = vk::ImageSubresourceRange {
        aspect_mask: vk::ImageAspectFlags::COLOR,
        base_mip_level: 0,
        level_count: 1,
        base_array_layer: 0,
        layer_count: 1,
    };
    let info = vk::ImageViewCreateInfo::default()
        .image(image)
        .view_type(vk::ImageViewType::TYPE_2D)
        .format(vk::Format::R8G8B8A8_UNORM)
        .subresource_range(range);
    // SAFETY: the image is valid and has memory.
    let view = unsafe { gpu.device.create_image_view(&info, None) }.called("vkCreateImageView")?;
    gpu.run(|device, cmd| {
        let layout = vk::ImageLayout::GENERAL;
        let colours = [vk::RenderingAttachmentInfo::default()
            .image_view(view)
            .image_layout(layout)
            .load_op(vk::AttachmentLoadOp::CLEAR)
            .store_op(vk::AttachmentStoreOp::STORE)
            .clear_value(vk::ClearValue {
                color: vk::ClearColorValue {
                    float32: [1.0, 0.4, 0.0, 0.2],
                },
            })];
        let rendering = vk::RenderingInfo::default()
            .render_area(vk::Rect2D {
                offset: vk::Offset2D::default(),
                extent: vk::Extent2D {
                    width: WIDTH,
                    height: HEIGHT,
                },
            })
            .layer_count(1)
            .color_attachments(&colours);
        let region = [vk::BufferImageCopy::default()
            .image_subresource(vk::ImageSubresourceLayers {
                aspect_mask: vk::ImageAspectFlags::COLOR,
                mip_level: 0,
                base_array_layer: 0,
                layer_count: 1,
            })
            .image_extent(vk::Extent3D {
                width: WIDTH,
                height: HEIGHT,
                depth: 1,
            })];
        let all = vk::AccessFlags::MEMORY_READ | vk::AccessFlags::MEMORY_WRITE;
        let general = [vk::ImageMemoryBarrier::default()
            .dst_access_mask(all)
            .old_layout(vk::ImageLayout::UNDEFINED)
            .new_layout(vk::ImageLayout::GENERAL)
            .image(image)
            .subresource_range(range)];
        let stages = vk::PipelineStageFlags::ALL_COMMANDS;
        let none = vk::DependencyFlags::empty();
        // SAFETY: the handles are valid, and the buffer has room for the image.
        unsafe {
            device.cmd_pipeline_barrier(cmd, stages, stages, none, &[], &[], &general);
            device.cmd_begin_rendering(cmd, &rendering);
            device.cmd_end_rendering(cmd);
            barrier(device, cmd);
            device.cmd_copy_image_to_buffer(cmd, image, layout, buffer.buffer, &region);
        }
        barrier(device, cmd);
        Ok(())
    })?;
    // Whole numbers: nothing to round.
    same(
        &buffer.words(),
        &vec![0x3300_66ff; (WIDTH * HEIGHT) as usize],
    )
}

fn main() -> ExitCode {
    e2e::ktap::run(cases![limit 240;
        empty, fill, copy, update, chain, timestamps, events, timelines, compute, clear_image,
    ])
}
