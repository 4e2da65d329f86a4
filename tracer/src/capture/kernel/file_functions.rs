//! The functions behind operations on files of NFS mounts (`fs/nfs/{file,dir,inode,nfs4file}.c`, 6.1 to 7.3), and which
//! of their arguments leads to the file: that differs between versions, and is read from the kernel's types.

use std::{fs, path::Path};

use btf_rs::{Btf, FuncProto, Parameter, Type};
use nfslat_common::file_ops::{Hook, object, op};

use super::functions::Function;

/// Functions, the module they are in, and what they do. A kernel has most of them, not all.
const FUNCTIONS: [(&str, &str, u32); 27] = [
    ("nfs_file_read", "nfs", op::READ),
    ("nfs_file_splice_read", "nfs", op::READ),
    ("nfs_file_write", "nfs", op::WRITE),
    ("nfs_file_open", "nfs", op::OPEN),
    ("nfs_atomic_open", "nfs", op::OPEN),
    ("nfs_atomic_open_v23", "nfs", op::OPEN),
    ("nfs4_file_open", "nfsv4", op::OPEN),
    ("nfs_file_flush", "nfs", op::FLUSH),
    ("nfs4_file_flush", "nfsv4", op::FLUSH),
    ("nfs_file_release", "nfs", op::RELEASE),
    ("nfs_getattr", "nfs", op::GETATTR),
    ("nfs_lookup", "nfs", op::LOOKUP),
    ("nfs_lookup_revalidate", "nfs", op::REVALIDATE),
    ("nfs4_lookup_revalidate", "nfs", op::REVALIDATE),
    ("nfs_permission", "nfs", op::ACCESS),
    ("nfs_readdir", "nfs", op::READDIR),
    ("nfs_file_fsync", "nfs", op::FSYNC),
    ("nfs_setattr", "nfs", op::SETATTR),
    ("nfs_create", "nfs", op::CREATE),
    ("nfs_mknod", "nfs", op::CREATE),
    ("nfs_symlink", "nfs", op::CREATE),
    ("nfs_unlink", "nfs", op::UNLINK),
    ("nfs_mkdir", "nfs", op::MKDIR),
    ("nfs_rmdir", "nfs", op::RMDIR),
    ("nfs_rename", "nfs", op::RENAME),
    ("nfs_vm_page_mkwrite", "nfs", op::MKWRITE),
    ("filemap_fault", "vmlinux", op::FAULT),
];

/// A function to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileFunction {
    /// Where it is.
    pub(crate) function: Function,
    /// What the programs have to know.
    pub(crate) hook: Hook,
}

/// Those that this kernel has, by the types in `btf_dir`. None if its modules have no types (before 5.11).
pub(super) fn find(vmlinux: &Btf, btf_dir: &Path) -> Vec<FileFunction> {
    let module = |name: &str| Btf::from_split_bytes(&fs::read(btf_dir.join(name)).ok()?, vmlinux).ok();
    let (nfs, nfsv4) = (module("nfs"), module("nfsv4"));
    let mut found: Vec<FileFunction> = FUNCTIONS
        .iter()
        .zip(0..)
        .filter_map(|(&(name, module, op), number)| {
            let types = match module {
                "nfs" => nfs.as_ref()?,
                "nfsv4" => nfsv4.as_ref()?,
                _ => vmlinux,
            };
            let (type_id, prototype) = function(types, name)?;
            let (argument, object) = leads_to_file(types, &prototype, op)?;
            let function = Function { name: name.to_owned(), module: module.to_owned(), type_id };
            Some(FileFunction { function, hook: Hook { function: number, op, object, argument } })
        })
        .collect();
    if nfs.is_none() {
        found.clear();
    }
    found
}

fn function(types: &Btf, name: &str) -> Option<(u32, FuncProto)> {
    types.resolve_ids_by_name(name).ok()?.into_iter().find_map(|id| {
        let Type::Func(function) = types.resolve_type_by_id(id).ok()? else { return None };
        let Type::FuncProto(prototype) = types.resolve_chained_type(&function).ok()? else { return None };
        Some((id, prototype))
    })
}

/// What arguments lead to a file, best first: what is open has a name.
const OBJECTS: [(&str, u32); 6] = [
    ("kiocb", object::KIOCB),
    ("file", object::FILE),
    ("vm_fault", object::VM_FAULT),
    ("path", object::PATH),
    ("dentry", object::DENTRY),
    ("inode", object::INODE),
];

/// Operations on a name in a folder: it is the folder that is meant, as there may be nothing of that name.
const ON_NAMES: [u32; 8] =
    [op::OPEN, op::LOOKUP, op::REVALIDATE, op::CREATE, op::UNLINK, op::MKDIR, op::RMDIR, op::RENAME];

/// The argument that leads to the file best, and what it is.
fn leads_to_file(types: &Btf, prototype: &FuncProto, op: u32) -> Option<(u32, u32)> {
    let targets: Vec<_> = prototype.parameters.iter().map(|parameter| target_of(types, parameter)).collect();
    let find = |name: &str| Some(targets.iter().position(|target| target.as_deref() == Some(name))? as u32);
    // A file that is just being opened does not lead anywhere yet.
    if ON_NAMES.contains(&op)
        && let Some(number) = find("dentry")
    {
        return Some((number, object::PARENT));
    }
    OBJECTS.iter().find_map(|&(name, kind)| Some((find(name)?, kind)))
}

/// Name of the structure that a parameter points to.
fn target_of(types: &Btf, parameter: &Parameter) -> Option<String> {
    let Type::Ptr(pointer) = types.resolve_chained_type(parameter).ok()? else { return None };
    let mut target = types.resolve_chained_type(&pointer).ok()?;
    if let Type::Const(constant) = &target {
        target = types.resolve_chained_type(constant).ok()?;
    }
    let Type::Struct(structure) = target else { return None };
    types.resolve_name(&structure).ok()
}
