//! Where fields lie in the structures of the running kernel, from its BTF.
//!
//! Never from a table: distributions insert fields (RHEL 9 shifts `task_struct` with
//! `common_preempt_lazy_count`).

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use btf_rs::{Btf, Struct, Type};
use nfslat_common::config::RpcOffsets;

use super::file_functions::{self, FileFunction};

/// Types of the kernel, or of one of its modules.
pub(crate) struct KernelTypes {
    vmlinux: Btf,
}

/// What the scheduler's programs have to know of the running kernel.
pub(crate) struct SchedulerLayout {
    /// Offsets of the fields listed in `nfslat_common::for_each_task_field`.
    pub(crate) fields: Vec<TaskField>,
    /// True if `sched_switch` hands over the state of the thread that leaves (5.18 and later).
    pub(crate) switch_has_state: bool,
    /// True if the kernel reports waits for locks (5.19 and later).
    pub(crate) lock_events: bool,
    /// True if programs can ask for the registers that a thread came into the kernel with (5.15 and later).
    pub(crate) task_registers: bool,
}

/// Offset of one field read from BTF-typed pointers, for a global of the kernel side.
pub(crate) struct TaskField {
    /// Name of the global.
    pub(crate) global: &'static str,
    /// Offset in bytes; `None` if this kernel has no such field.
    pub(crate) offset: Option<u32>,
}

impl KernelTypes {
    /// Reads `vmlinux` from a folder such as `/sys/kernel/btf`.
    ///
    /// # Errors
    /// If the kernel has no BTF or it cannot be read.
    pub(crate) fn read(btf_dir: &Path) -> Result<Self> {
        let path = btf_dir.join("vmlinux");
        // Read whole: the parser makes some hundred thousand small steps, each a system call on a file.
        let vmlinux = fs::read(&path)
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok(Btf::from_bytes(&bytes)?))
            .with_context(|| {
                format!(
                    "cannot read the kernel's types from {}: nfslat needs a kernel built with \
                         CONFIG_DEBUG_INFO_BTF",
                    path.display()
                )
            })?;
        Ok(Self { vmlinux })
    }

    /// What the scheduler's programs have to know.
    ///
    /// # Errors
    /// If the kernel has no tracepoint `sched_switch`.
    pub(crate) fn scheduler_layout(&self) -> Result<SchedulerLayout> {
        let switch_has_state = self.tracepoint_arguments("sched_switch")? >= 4;
        let lock_events = self.tracepoint_arguments("contention_begin").is_ok();
        let task_registers = self.has_function("bpf_task_pt_regs");
        Ok(SchedulerLayout { fields: self.task_fields(), switch_has_state, lock_events, task_registers })
    }

    fn task_fields(&self) -> Vec<TaskField> {
        macro_rules! look_up {
            ($($global:ident = $owner:literal, $field:literal;)*) => {
                vec![$(TaskField {
                    global: stringify!($global),
                    offset: offset_of(&self.vmlinux, $owner, $field),
                }),*]
            };
        }
        nfslat_common::for_each_task_field!(look_up)
    }

    /// True if the kernel has a lock for each mapping of a process (`vm_area_struct.vm_lock_seq`,
    /// `include/linux/mm_types.h`: an rwsem in 6.4 to 6.14, a reference count since).
    pub(crate) fn has_vma_locks(&self) -> bool {
        offset_of(&self.vmlinux, "vm_area_struct", "vm_lock_seq").is_some()
    }

    /// True if the kernel has a function of this name; a helper of BPF programs is one.
    fn has_function(&self, name: &str) -> bool {
        let types = self.vmlinux.resolve_types_by_name(name).unwrap_or_default();
        types.iter().any(|found| matches!(found, Type::Func(_)))
    }

    /// Number of arguments of a tracepoint, without the kernel's own first one.
    fn tracepoint_arguments(&self, name: &str) -> Result<usize> {
        let typedef = format!("btf_trace_{name}");
        let types = self.vmlinux.resolve_types_by_name(&typedef).unwrap_or_default();
        types
            .into_iter()
            .find_map(|candidate| {
                let Type::Typedef(typedef) = candidate else { return None };
                let Type::Ptr(pointer) = self.vmlinux.resolve_chained_type(&typedef).ok()? else {
                    return None;
                };
                let Type::FuncProto(prototype) = self.vmlinux.resolve_chained_type(&pointer).ok()? else {
                    return None;
                };
                prototype.parameters.len().checked_sub(1)
            })
            .ok_or_else(|| anyhow!("this kernel has no tracepoint {name}"))
    }

    /// The functions behind operations on files of NFS mounts.
    pub(crate) fn file_functions(&self, btf_dir: &Path) -> Vec<FileFunction> {
        file_functions::find(&self.vmlinux, btf_dir)
    }

    /// Offsets of the NFS client's structures, from the BTF of the modules in `btf_dir`.
    ///
    /// # Errors
    /// Names the first required field that cannot be found.
    ///
    /// `is_replaced`: the RPC layer is not the kernel's own, whose types must not be taken for its. (Types that both have in
    /// common are the kernel's, even where the module has types.)
    pub(crate) fn rpc_offsets(&self, btf_dir: &Path, is_replaced: bool) -> Result<RpcOffsets> {
        let types_of = |module: &str| Btf::from_split_bytes(&fs::read(btf_dir.join(module)).ok()?, &self.vmlinux).ok();
        let rpc_layer = types_of("sunrpc");
        if is_replaced && rpc_layer.is_none() {
            return Err(anyhow!("the sunrpc module is not the kernel's own, and has no BTF"));
        }
        let modules: Vec<Btf> = [rpc_layer, types_of("nfs")].into_iter().flatten().collect();
        let find =
            |owner: &str, path: &str| modules.iter().chain([&self.vmlinux]).find_map(|btf| offset_of(btf, owner, path));
        let mut offsets = RpcOffsets { ready: 1, ..RpcOffsets::default() };
        macro_rules! look_up {
            ($($field:ident = $owner:literal, $path:literal, $required:literal;)*) => {
                $(match find($owner, $path) {
                    Some(offset) => offsets.$field = offset,
                    None if $required => {
                        return Err(anyhow!(
                            "the layout of {}.{} is not known: no BTF of the sunrpc module",
                            $owner, $path
                        ));
                    }
                    None => {}
                })*
            };
        }
        nfslat_common::for_each_rpc_field!(look_up);
        Ok(offsets)
    }
}

/// Offset in bytes of `path` (`field` or `field.field`) in a structure; `None` if there is no such
/// structure or field, or if it is a bit field.
fn offset_of(btf: &Btf, owner: &str, path: &str) -> Option<u32> {
    btf.resolve_types_by_name(owner).ok()?.into_iter().find_map(|candidate| {
        let Type::Struct(structure) = candidate else { return None };
        let bits = bits_of_path(btf, &structure, path)?;
        (bits % 8 == 0).then_some(bits / 8)
    })
}

fn bits_of_path(btf: &Btf, structure: &Struct, path: &str) -> Option<u32> {
    let (field, rest) = path.split_once('.').map_or((path, None), |(field, rest)| (field, Some(rest)));
    let (bits, inner) = find_member(btf, structure, field)?;
    match rest {
        None => Some(bits),
        Some(rest) => match inner {
            Type::Struct(inner) | Type::Union(inner) => Some(bits + bits_of_path(btf, &inner, rest)?),
            _ => None,
        },
    }
}

/// A member by name, also inside anonymous structures and unions, with its bit offset and type.
fn find_member(btf: &Btf, structure: &Struct, name: &str) -> Option<(u32, Type)> {
    structure.members.iter().find_map(|member| {
        let member_name = btf.resolve_name(member).unwrap_or_default();
        let mut member_type = btf.resolve_chained_type(member).ok()?;
        // Such as the first, anonymous, part of `vm_fault` (`include/linux/mm.h`, since 5.12).
        if let Type::Const(constant) = &member_type {
            member_type = btf.resolve_chained_type(constant).ok()?;
        }
        if member_name == name {
            return Some((member.bit_offset(), member_type));
        }
        match member_type {
            Type::Struct(inner) | Type::Union(inner) if member_name.is_empty() => {
                let (bits, found) = find_member(btf, &inner, name)?;
                Some((member.bit_offset() + bits, found))
            }
            _ => None,
        }
    })
}
