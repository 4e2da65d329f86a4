//! Reading a whole BPF hash map in few system calls.

use std::{
    mem::{size_of, zeroed},
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, PerCpuArray},
};

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` (`include/uapi/linux/bpf.h`), since 5.6.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// The `batch` member of `union bpf_attr` (`include/uapi/linux/bpf.h`).
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The data of a map of the loaded object.
///
/// # Errors
/// If the object has no such map, which is a defect of the build.
pub(crate) fn data<'a>(bpf: &'a Ebpf, name: &str) -> Result<&'a MapData> {
    match bpf.map(name) {
        Some(Map::HashMap(data) | Map::PerCpuHashMap(data) | Map::Array(data) | Map::PerCpuArray(data)) => Ok(data),
        _ => Err(anyhow!("the kernel side has no map {name}")),
    }
}

/// All entries of a hash map.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn read_all<K: Pod, V: Pod>(map: &MapData) -> Result<Vec<(K, V)>> {
    let mut entries = Vec::new();
    read_batches(map, size_of::<V>(), |key: K, value| {
        // SAFETY: the kernel filled `size_of::<V>()` bytes, and any bytes are a valid `Pod`.
        entries.push((key, unsafe { value.as_ptr().cast::<V>().read_unaligned() }));
    })?;
    Ok(entries)
}

/// All entries of a per-CPU hash map, each with the values of every CPU.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn read_all_per_cpu<K: Pod, V: Pod>(map: &MapData) -> Result<Vec<(K, Vec<V>)>> {
    let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
    let stride = size_of::<V>().next_multiple_of(8);
    let mut entries = Vec::new();
    read_batches(map, stride * cpus, |key: K, values| {
        let per_cpu = values
            .chunks_exact(stride)
            // SAFETY: as in `read_all`; the kernel rounds each CPU's value up to 8 bytes.
            .map(|value| unsafe { value.as_ptr().cast::<V>().read_unaligned() })
            .collect();
        entries.push((key, per_cpu));
    })?;
    Ok(entries)
}

/// The entries of a per-CPU array, each with the values of every CPU.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn read_per_cpu_array<V: Pod>(bpf: &Ebpf, name: &str) -> Result<Vec<Vec<V>>> {
    let map = bpf.map(name).ok_or_else(|| anyhow!("the kernel side has no map {name}"))?;
    let array: PerCpuArray<&MapData, V> = PerCpuArray::try_from(map)?;
    (0..array.len()).map(|index| Ok(array.get(&index, 0)?.to_vec())).collect()
}

fn read_batches<K: Pod>(map: &MapData, value_size: usize, mut each: impl FnMut(K, &[u8])) -> Result<()> {
    let fd = map.fd().as_fd().as_raw_fd();
    // A batch ends at the end of a hash bucket; one that does not fit whole is refused (ENOSPC).
    let mut capacity = 1024;
    let mut position = None;
    loop {
        let mut keys = vec![0u8; capacity * size_of::<K>()];
        let mut values = vec![0u8; capacity * value_size];
        let step = lookup_batch(fd, position, &mut keys, &mut values, capacity).context("cannot read a BPF map")?;
        let Some(step) = step else {
            capacity *= 2;
            continue;
        };
        for index in 0..step.count {
            let key = &keys[index * size_of::<K>()..];
            // SAFETY: the kernel filled `count` keys of this size.
            let key = unsafe { key.as_ptr().cast::<K>().read_unaligned() };
            each(key, &values[index * value_size..(index + 1) * value_size]);
        }
        match step.next {
            Some(next) => position = Some(next),
            None => return Ok(()),
        }
    }
}

struct Step {
    count: usize,
    next: Option<u32>,
}

/// One batch; `None` if the buffers are too small for the next hash bucket.
fn lookup_batch(
    map_fd: RawFd,
    position: Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
    capacity: usize,
) -> std::io::Result<Option<Step>> {
    let mut next = 0u32;
    // SAFETY: all fields are integers.
    let mut attr: BatchAttr = unsafe { zeroed() };
    attr.in_batch = position.as_ref().map_or(0, |at| std::ptr::from_ref(at) as u64);
    attr.out_batch = std::ptr::from_mut(&mut next) as u64;
    attr.keys = keys.as_mut_ptr() as u64;
    attr.values = values.as_mut_ptr() as u64;
    attr.count = capacity as u32;
    attr.map_fd = map_fd as u32;
    // SAFETY: the buffers hold `capacity` keys and values of the map's sizes and outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_BATCH, std::ptr::from_mut(&mut attr), size_of::<BatchAttr>())
    };
    let count = attr.count as usize;
    if result == 0 {
        return Ok(Some(Step { count, next: Some(next) }));
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        // The end of the map; the last entries came with it.
        Some(libc::ENOENT) => Ok(Some(Step { count, next: None })),
        Some(libc::ENOSPC) => Ok(None),
        _ => Err(error),
    }
}
