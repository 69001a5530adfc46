// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A Vulkan device with its queues, and the few objects that the programs need.
//!
//! Nothing is destroyed: a case is a process of its own, and how the driver cleans up after one
//! that ends is part of what is tested.

use ash::{vk, Device, Entry, Instance};
use e2e::{fail, ok, Fail, Res};

/// How long a fence may take, in ns: a board without hardware is slow, and who waits for ever is
/// ended by the limit of the case.
pub const PATIENCE: u64 = 200_000_000_000;

/// A device of the GPU under test.
pub struct Gpu {
    /// Loader.
    pub entry: Entry,
    /// Instance.
    pub instance: Instance,
    /// The physical device.
    pub physical: vk::PhysicalDevice,
    /// The device.
    pub device: Device,
    /// Two queues of the one family that draws, computes and copies.
    pub queues: [vk::Queue; 2],
    /// Command buffers come from here.
    pub pool: vk::CommandPool,
    memory: vk::PhysicalDeviceMemoryProperties,
}

/// A buffer in memory that both sides see.
pub struct Buffer {
    /// Handle.
    pub buffer: vk::Buffer,
    /// Bytes.
    pub size: u64,
    at: *mut u8,
}

fn vulkan(what: &str, e: vk::Result) -> Fail {
    Fail::Fail(format!("{what}: {e}"))
}

/// A result of Vulkan's with what was called.
pub trait Called<T> {
    /// Fails the case with the name of the call.
    fn called(self, what: &str) -> Res<T>;
}

impl<T> Called<T> for Result<T, vk::Result> {
    fn called(self, what: &str) -> Res<T> {
        self.map_err(|e| vulkan(what, e))
    }
}

impl Gpu {
    /// Opens the first device that is a Mali on the driver under test.
    pub fn open() -> Res<Self> {
        // SAFETY: the loader is Debian's; it is as safe as any library.
        let entry = unsafe { ok!(Entry::load()) };
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: what the structures point to lives until the call returns; so it is in all calls below.
        let instance = unsafe { entry.create_instance(&info, None) }.called("vkCreateInstance")?;
        // SAFETY: the instance is valid.
        let all = unsafe { instance.enumerate_physical_devices() }
            .called("vkEnumeratePhysicalDevices")?;
        let Some(physical) = all.into_iter().find(|d| {
            // SAFETY: as above.
            let properties = unsafe { instance.get_physical_device_properties(*d) };
            properties.vendor_id == 0x13b5
        }) else {
            fail!("no Mali among the Vulkan devices");
        };
        // SAFETY: as above.
        let memory = unsafe { instance.get_physical_device_memory_properties(physical) };
        let priorities = [1.0; 2];
        let queues = [vk::DeviceQueueCreateInfo::default()
            .queue_family_index(0)
            .queue_priorities(&priorities)];
        let mut v12 = vk::PhysicalDeviceVulkan12Features::default().timeline_semaphore(true);
        let mut v13 = vk::PhysicalDeviceVulkan13Features::default().dynamic_rendering(true);
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .push_next(&mut v12)
            .push_next(&mut v13);
        // SAFETY: as above.
        let device =
            unsafe { instance.create_device(physical, &info, None) }.called("vkCreateDevice")?;
        let info = vk::CommandPoolCreateInfo::default().queue_family_index(0);
        // SAFETY: as above.
        let pool =
            unsafe { device.create_command_pool(&info, None) }.called("vkCreateCommandPool")?;
        // SAFETY: both queues were asked for.
        let queues = [0, 1].map(|n| unsafe { device.get_device_queue(0, n) });
        Ok(Self {
            entry,
            instance,
            physical,
            device,
            queues,
            pool,
            memory,
        })
    }

    /// Memory that the host sees at once, for these requirements.
    pub fn allocate(&self, needs: vk::MemoryRequirements) -> Res<vk::DeviceMemory> {
        let want = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let types = self.memory.memory_types_as_slice();
        let Some(index) = (0..types.len()).find(|i| {
            (needs.memory_type_bits >> i) & 1 != 0 && types[*i].property_flags.contains(want)
        }) else {
            fail!("no coherent memory type in {:#x}", needs.memory_type_bits);
        };
        let info = vk::MemoryAllocateInfo::default()
            .allocation_size(needs.size)
            .memory_type_index(index as u32);
        // SAFETY: the structure is complete.
        unsafe { self.device.allocate_memory(&info, None) }.called("vkAllocateMemory")
    }

    /// Maps all of an allocation.
    pub fn map(&self, memory: vk::DeviceMemory) -> Res<*mut u8> {
        // SAFETY: the memory is host visible and not mapped yet.
        let at = unsafe {
            self.device
                .map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty())
        };
        Ok(at.called("vkMapMemory")?.cast())
    }

    /// A buffer of so many bytes, filled with one.
    pub fn buffer(&self, size: u64, fill: u8) -> Res<Buffer> {
        let usage = vk::BufferUsageFlags::TRANSFER_SRC
            | vk::BufferUsageFlags::TRANSFER_DST
            | vk::BufferUsageFlags::STORAGE_BUFFER;
        let info = vk::BufferCreateInfo::default().size(size).usage(usage);
        // SAFETY: the structure is complete.
        let buffer = unsafe { self.device.create_buffer(&info, None) }.called("vkCreateBuffer")?;
        // SAFETY: the buffer is valid.
        let needs = unsafe { self.device.get_buffer_memory_requirements(buffer) };
        let memory = self.allocate(needs)?;
        // SAFETY: the memory fits the requirements, and nothing is bound yet.
        unsafe { self.device.bind_buffer_memory(buffer, memory, 0) }
            .called("vkBindBufferMemory")?;
        let at = self.map(memory)?;
        let mut buffer = Buffer { buffer, size, at };
        buffer.bytes_mut().fill(fill);
        Ok(buffer)
    }

    /// A command buffer, recorded by a function.
    pub fn record(
        &self,
        f: impl FnOnce(&Device, vk::CommandBuffer) -> Res,
    ) -> Res<vk::CommandBuffer> {
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(self.pool)
            .command_buffer_count(1);
        // SAFETY: the pool is used by this thread only.
        let cmd = unsafe { self.device.allocate_command_buffers(&info) }
            .called("vkAllocateCommandBuffers")?[0];
        let info = vk::CommandBufferBeginInfo::default();
        // SAFETY: the buffer is new.
        unsafe { self.device.begin_command_buffer(cmd, &info) }.called("vkBeginCommandBuffer")?;
        f(&self.device, cmd)?;
        // SAFETY: it is being recorded.
        unsafe { self.device.end_command_buffer(cmd) }.called("vkEndCommandBuffer")?;
        Ok(cmd)
    }

    /// Submits a command buffer to a queue; the fence says when it is done.
    pub fn submit(&self, queue: usize, cmd: vk::CommandBuffer) -> Res<vk::Fence> {
        // SAFETY: the structure is complete.
        let fence = unsafe {
            self.device
                .create_fence(&vk::FenceCreateInfo::default(), None)
        }
        .called("vkCreateFence")?;
        let cmds = [cmd];
        let info = [vk::SubmitInfo::default().command_buffers(&cmds)];
        // SAFETY: all handles are valid, and the queue is used by this thread only.
        unsafe { self.device.queue_submit(self.queues[queue], &info, fence) }
            .called("vkQueueSubmit")?;
        Ok(fence)
    }

    /// Waits for a fence.
    pub fn wait(&self, fence: vk::Fence) -> Res {
        // SAFETY: the fence is valid.
        unsafe { self.device.wait_for_fences(&[fence], true, PATIENCE) }.called("vkWaitForFences")
    }

    /// Records, submits and waits.
    pub fn run(&self, f: impl FnOnce(&Device, vk::CommandBuffer) -> Res) -> Res {
        let cmd = self.record(f)?;
        let fence = self.submit(0, cmd)?;
        self.wait(fence)
    }
}

/// What came before is done, and its writes are seen by all that comes, the host included.
pub fn barrier(device: &Device, cmd: vk::CommandBuffer) {
    let all = vk::AccessFlags::MEMORY_READ | vk::AccessFlags::MEMORY_WRITE;
    let barrier = [vk::MemoryBarrier::default()
        .src_access_mask(all)
        .dst_access_mask(all | vk::AccessFlags::HOST_READ)];
    let stages = vk::PipelineStageFlags::ALL_COMMANDS;
    // SAFETY: the command buffer is being recorded.
    unsafe {
        device.cmd_pipeline_barrier(
            cmd,
            stages,
            stages | vk::PipelineStageFlags::HOST,
            vk::DependencyFlags::empty(),
            &barrier,
            &[],
            &[],
        );
    }
}

impl Buffer {
    /// Its bytes. The GPU must be done with them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is as long as the buffer, and stays to the end of the process.
        unsafe { std::slice::from_raw_parts(self.at, self.size as usize) }
    }

    /// Its bytes. The GPU must be done with them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.size as usize) }
    }

    /// Its words.
    pub fn words(&self) -> Vec<u32> {
        self.bytes()
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    }

    /// Writes words from the start on.
    pub fn put_words(&mut self, words: &[u32]) {
        for (to, word) in self.bytes_mut().chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
}
