//! The only place that takes random bits from the system.

/// 16 random bytes.
///
/// # Errors
/// When the system has none, which a running Linux does not do.
pub fn bytes() -> std::io::Result<[u8; 16]> {
    let mut out = [0; 16];
    // SAFETY: 16 writable bytes; requests of up to 256 bytes are never answered in part.
    let got = unsafe { libc::getrandom(out.as_mut_ptr().cast(), out.len(), 0) };
    if got == out.len() as isize { Ok(out) } else { Err(std::io::Error::last_os_error()) }
}

/// 64 random bits.
///
/// # Errors
/// As [`bytes()`].
pub fn seed() -> std::io::Result<u64> {
    let b = bytes()?;
    Ok(u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
}
