//! Programs at the entry and the return of functions, those of modules included.
//!
//! aya attaches such programs to the kernel's own functions only: it has no way to name a module's types. So this loads
//! them from the same object, with the maps that aya has made, by the system call.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    mem::size_of,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result, anyhow};
use aya::Ebpf;
use aya_obj::{
    Object,
    generated::{bpf_attach_type, bpf_attr, bpf_btf_info, bpf_cmd, bpf_prog_type},
};

use super::maps;

/// Loads programs of the object that is already loaded, once for each function.
pub(crate) struct Loader {
    object: Object,
    modules: BTreeMap<String, OwnedFd>,
}

/// A program at a function. Dropping it detaches it.
#[derive(Debug)]
pub(crate) struct Attached {
    program: OwnedFd,
    _link: OwnedFd,
}

/// A function of the kernel or of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The module, or `vmlinux`.
    pub(crate) module: String,
    /// Its number among the types of the module.
    pub(crate) type_id: u32,
}

/// Where at the function a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Its entry.
    Entry,
    /// Its return.
    Return,
}

impl Loader {
    /// `bytes`: the object that `bpf` was loaded from. `names`: the programs that will be wanted.
    ///
    /// # Errors
    /// If the object has no such programs, or uses maps that `bpf` has not.
    pub(crate) fn new(bpf: &Ebpf, bytes: &[u8], names: &[&str]) -> Result<Self> {
        let mut object = Object::parse(bytes).context("the kernel side cannot be read")?;
        // The other programs use maps that are not needed here, and may be gone. What programs share stays (`memset`).
        let unwanted: HashSet<_> = object
            .programs
            .extract_if(|name, _| !names.contains(&name.as_str()))
            .map(|(_, program)| program.function_key())
            .collect();
        object.functions.retain(|key, _| !unwanted.contains(key));
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let mut fds: Vec<(String, RawFd, aya_obj::Map)> = Vec::new();
        for (name, _) in bpf.maps() {
            if let (Ok(data), Some(map)) = (maps::data(bpf, name), object.maps.get(name)) {
                fds.push((name.to_owned(), data.fd().as_fd().as_raw_fd(), map.clone()));
            }
        }
        object
            .relocate_maps(fds.iter().map(|(name, fd, map)| (name.as_str(), *fd, map)), &sections)
            .context("the maps of a program cannot be found")?;
        object.relocate_calls(&sections).context("the calls of a program cannot be resolved")?;
        Ok(Self { object, modules: module_types()? })
    }

    /// Loads a program for a function and attaches it there. `cookie`: what the program is to know of it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn attach(&self, program: &str, function: &Function, at: At, cookie: u64) -> Result<Attached> {
        let fail = || format!("cannot attach to the function {} ({})", function.name, function.module);
        let attach_type = match at {
            At::Entry => bpf_attach_type::BPF_TRACE_FENTRY,
            At::Return => bpf_attach_type::BPF_TRACE_FEXIT,
        };
        let program = self.load(program, function, attach_type).with_context(fail)?;
        // SAFETY: all fields are integers.
        let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
        attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
        attr.link_create.attach_type = attach_type as u32;
        attr.link_create.__bindgen_anon_3.tracing.cookie = cookie;
        let link = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr).with_context(fail)?;
        Ok(Attached { program, _link: link })
    }

    fn load(&self, name: &str, function: &Function, attach_type: bpf_attach_type) -> Result<OwnedFd> {
        let program = self.object.programs.get(name).ok_or_else(|| anyhow!("the kernel side has no program {name}"))?;
        let code = &self.object.functions[&program.function_key()].instructions;
        // SAFETY: all fields are integers.
        let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
        // SAFETY: a union of integers, all of which are zero or set here.
        let load = unsafe { &mut attr.__bindgen_anon_3 };
        load.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
        load.expected_attach_type = attach_type as u32;
        load.insns = code.as_ptr() as u64;
        load.insn_cnt = code.len() as u32;
        load.license = program.license.as_ptr() as u64;
        load.attach_btf_id = function.type_id;
        for (to, from) in load.prog_name.iter_mut().zip(name.bytes().take(15)) {
            *to = from as libc::c_char;
        }
        if function.module != "vmlinux" {
            let types = self.modules.get(&function.module).context("the module has no types")?;
            load.__bindgen_anon_1.attach_btf_obj_fd = types.as_raw_fd() as u32;
        }
        let refused = match bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr) {
            Ok(fd) => return Ok(fd),
            Err(error) => error,
        };
        // Once more, for the verifier's reasons.
        let mut log = vec![0u8; 1 << 20];
        // SAFETY: as above.
        let load = unsafe { &mut attr.__bindgen_anon_3 };
        (load.log_level, load.log_size, load.log_buf) = (1, log.len() as u32, log.as_mut_ptr() as u64);
        let _ = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr);
        let text = String::from_utf8_lossy(&log);
        log::debug!("the verifier says of {name} for {}:\n{}", function.name, text.trim_end_matches('\0'));
        Err(refused).context("the kernel rejects the program")
    }
}

impl Attached {
    /// The program's descriptor.
    pub(crate) fn fd(&self) -> RawFd {
        self.program.as_raw_fd()
    }
}

/// Descriptors of the types of every module, by its name. Kernels before 5.11 have none.
fn module_types() -> Result<BTreeMap<String, OwnedFd>> {
    let mut found = BTreeMap::new();
    let mut id = 0;
    while let Some(next) = next_types(id)? {
        id = next;
        // SAFETY: all fields are integers.
        let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
        attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
        // It may be gone by now.
        if let Ok(fd) = bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr) {
            let (name, is_kernel) = describe(&fd)?;
            if is_kernel {
                found.insert(name, fd);
            }
        }
    }
    Ok(found)
}

fn next_types(after: u32) -> Result<Option<u32>> {
    // SAFETY: all fields are integers.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.__bindgen_anon_6.__bindgen_anon_1.start_id = after;
    match call(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attr) {
        // SAFETY: the kernel has set it.
        Ok(_) => Ok(Some(unsafe { attr.__bindgen_anon_6.next_id })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error).context("cannot list the types of modules"),
    }
}

/// Name of the types, and whether they are the kernel's or a module's.
fn describe(fd: &OwnedFd) -> Result<(String, bool)> {
    let mut name = [0u8; 64];
    // SAFETY: all fields are integers.
    let (mut info, mut attr): (bpf_btf_info, bpf_attr) = unsafe { std::mem::zeroed() };
    (info.name, info.name_len) = (name.as_mut_ptr() as u64, name.len() as u32);
    attr.info.bpf_fd = fd.as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_btf_info>() as u32;
    attr.info.info = std::ptr::from_mut(&mut info) as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).context("cannot tell whose types these are")?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok((String::from_utf8_lossy(&name[..end]).into_owned(), info.kernel_btf != 0))
}

/// The system call, where it makes a descriptor.
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: the kernel has just made it, close-on-exec as all of this system call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: what the attributes point to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, std::ptr::from_mut(attr), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
