//! Errors that calls ended with, by name.

use std::{cmp::Reverse, collections::BTreeMap};

use super::row::ErrorRow;
use crate::model::RpcErrorSlice;

/// Calls by error number.
#[derive(Clone, Default)]
pub(super) struct Errors(BTreeMap<i32, u64>);

impl Errors {
    pub(super) fn add(&mut self, part: RpcErrorSlice) {
        let sum = self.0.entry(part.status).or_default();
        *sum = sum.saturating_add(part.count);
    }

    pub(super) fn rows(self) -> Vec<ErrorRow> {
        let row = |(status, count): (i32, u64)| {
            let number = status.unsigned_abs();
            ErrorRow { name: name(number), number, count }
        };
        sorted(self.0.into_iter().map(row).collect())
    }
}

/// Adds rows of the same operation.
pub(super) fn merge(rows: &mut Vec<ErrorRow>, others: &[ErrorRow]) {
    for other in others {
        match rows.iter_mut().find(|row| row.number == other.number) {
            Some(row) => row.count = row.count.saturating_add(other.count),
            None => rows.push(other.clone()),
        }
    }
    *rows = sorted(std::mem::take(rows));
}

fn sorted(mut rows: Vec<ErrorRow>) -> Vec<ErrorRow> {
    rows.sort_by_key(|row| (Reverse(row.count), row.number));
    rows
}

fn name(number: u32) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned());
    known.unwrap_or_else(|| format!("error {number}"))
}

/// Names of what an NFS call may end with. Below 512: `errno.h` (x86 and arm64 have the same). From 512: the kernel's own
/// (`include/linux/errno.h`); from 10001: NFSv4's (`include/linux/nfs4.h`; RFC 8881, section 15).
const NAMES: &[(u32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (31, "EMLINK"),
    (32, "EPIPE"),
    (36, "ENAMETOOLONG"),
    (39, "ENOTEMPTY"),
    (40, "ELOOP"),
    (61, "ENODATA"),
    (71, "EPROTO"),
    (90, "EMSGSIZE"),
    (93, "EPROTONOSUPPORT"),
    (95, "EOPNOTSUPP"),
    (100, "ENETDOWN"),
    (101, "ENETUNREACH"),
    (103, "ECONNABORTED"),
    (104, "ECONNRESET"),
    (105, "ENOBUFS"),
    (107, "ENOTCONN"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
    (116, "ESTALE"),
    (121, "EREMOTEIO"),
    (122, "EDQUOT"),
    (126, "ENOKEY"),
    (127, "EKEYEXPIRED"),
    (512, "ERESTARTSYS"),
    (521, "EBADHANDLE"),
    (522, "ENOTSYNC"),
    (523, "EBADCOOKIE"),
    (524, "ENOTSUPP"),
    (525, "ETOOSMALL"),
    (526, "ESERVERFAULT"),
    (527, "EBADTYPE"),
    (528, "EJUKEBOX"),
    (530, "ERECALLCONFLICT"),
    (531, "ENOGRACE"),
    (10001, "NFS4ERR_BADHANDLE"),
    (10003, "NFS4ERR_BAD_COOKIE"),
    (10004, "NFS4ERR_NOTSUPP"),
    (10005, "NFS4ERR_TOOSMALL"),
    (10006, "NFS4ERR_SERVERFAULT"),
    (10007, "NFS4ERR_BADTYPE"),
    (10008, "NFS4ERR_DELAY"),
    (10009, "NFS4ERR_SAME"),
    (10010, "NFS4ERR_DENIED"),
    (10011, "NFS4ERR_EXPIRED"),
    (10012, "NFS4ERR_LOCKED"),
    (10013, "NFS4ERR_GRACE"),
    (10014, "NFS4ERR_FHEXPIRED"),
    (10015, "NFS4ERR_SHARE_DENIED"),
    (10016, "NFS4ERR_WRONGSEC"),
    (10017, "NFS4ERR_CLID_INUSE"),
    (10018, "NFS4ERR_RESOURCE"),
    (10019, "NFS4ERR_MOVED"),
    (10020, "NFS4ERR_NOFILEHANDLE"),
    (10021, "NFS4ERR_MINOR_VERS_MISMATCH"),
    (10022, "NFS4ERR_STALE_CLIENTID"),
    (10023, "NFS4ERR_STALE_STATEID"),
    (10024, "NFS4ERR_OLD_STATEID"),
    (10025, "NFS4ERR_BAD_STATEID"),
    (10026, "NFS4ERR_BAD_SEQID"),
    (10030, "NFS4ERR_LEASE_MOVED"),
    (10033, "NFS4ERR_NO_GRACE"),
    (10038, "NFS4ERR_OPENMODE"),
    (10044, "NFS4ERR_OP_ILLEGAL"),
    (10047, "NFS4ERR_ADMIN_REVOKED"),
    (10049, "NFS4ERR_BADIOMODE"),
    (10052, "NFS4ERR_BADSESSION"),
    (10053, "NFS4ERR_BADSLOT"),
    (10055, "NFS4ERR_CONN_NOT_BOUND_TO_SESSION"),
    (10058, "NFS4ERR_LAYOUTTRYLATER"),
    (10059, "NFS4ERR_LAYOUTUNAVAILABLE"),
    (10061, "NFS4ERR_RECALLCONFLICT"),
    (10063, "NFS4ERR_SEQ_MISORDERED"),
    (10065, "NFS4ERR_REQ_TOO_BIG"),
    (10068, "NFS4ERR_RETRY_UNCACHED_REP"),
    (10074, "NFS4ERR_CLIENTID_BUSY"),
    (10078, "NFS4ERR_DEADSESSION"),
    (10087, "NFS4ERR_DELEG_REVOKED"),
    (10091, "NFS4ERR_OFFLOAD_DENIED"),
    (10095, "NFS4ERR_NOXATTR"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_names_and_the_most_frequent_come_first() {
        let mut errors = Errors::default();
        for (status, count) in [(-2, 1), (-10008, 3), (-4711, 1), (-2, 1)] {
            errors.add(RpcErrorSlice { series: 0, status, count });
        }
        let mut rows = errors.rows();
        let mut other = Errors::default();
        other.add(RpcErrorSlice { series: 0, status: -2, count: 5 });
        merge(&mut rows, &other.rows());
        let found: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.count)).collect();
        assert_eq!(found, [("ENOENT", 7), ("NFS4ERR_DELAY", 3), ("error 4711", 1)]);
    }

    #[test]
    fn names_are_in_order() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
