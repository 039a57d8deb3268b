//! Operations on leases.

use std::ffi::c_void;

use super::call::{ok_or, owned, run};
use crate::abi::call as raw;
use crate::abi::status;
use crate::abi::value::Slice;
use crate::sdk::backend::Backend;
use crate::sdk::request::Request;
use crate::sdk::Lease;

pub(super) unsafe extern "C" fn lease_acquire<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    name: Slice,
    ttl: i64,
    out: *mut Lease,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::LeaseAcquire { name: owned(name), ttl },
            |backend, call| match backend.lease_acquire(call, name.as_bytes(), ttl)? {
                Some(lease) => {
                    out.write(lease);
                    Ok(status::OK)
                }
                None => Ok(status::CONFLICT),
            },
        )
    }
}

pub(super) unsafe extern "C" fn lease_renew<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    name: Slice,
    ttl: i64,
    lease: *const Lease,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::LeaseRenew { name: owned(name), ttl, lease: *lease },
            |backend, call| {
                Ok(ok_or(backend.lease_renew(call, name.as_bytes(), ttl, &*lease)?, status::CONFLICT))
            },
        )
    }
}

pub(super) unsafe extern "C" fn lease_release<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    name: Slice,
    lease: *const Lease,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::LeaseRelease { name: owned(name), lease: *lease },
            |backend, call| {
                Ok(ok_or(backend.lease_release(call, name.as_bytes(), &*lease)?, status::CONFLICT))
            },
        )
    }
}
