//! What `strace -f -yy` wrote, as calls in the order in which the kernel was seen to begin and to end them.
//!
//! What it promises: a call that was interrupted by lines of other threads is put together again; text is turned back
//! into the bytes that it stands for. One tracer of several processes gives one order for all of them: a thread that
//! has not been let go on after a call can not have caused what comes later. What it must not do: judge (`proof.rs`).

use std::collections::BTreeMap;

/// A system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// What the first argument stands for: the path of a file, or `TCP:[LOCAL->REMOTE]`.
    pub target: String,
    /// The bytes of all its strings.
    pub data: Vec<u8>,
    /// The line on which it begins.
    pub began: usize,
    /// The line on which it ends.
    pub ended: usize,
    /// What it returned.
    pub returned: i64,
}

/// The finished calls of a trace, in the order of their beginnings.
pub fn calls(trace: &str) -> Vec<Call> {
    let mut under_way: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(text) = text.strip_suffix(" <unfinished ...>") {
            under_way.insert(thread, (line, text.to_owned()));
        } else if text.starts_with("<... ") {
            let Some((began, mut whole)) = under_way.remove(thread) else { continue };
            whole.push_str(text.split_once(" resumed>").map_or("", |(_, rest)| rest));
            calls.extend(call(&whole, began, line));
        } else {
            calls.extend(call(text, line, line));
        }
    }
    calls.sort_by_key(|call| call.began);
    calls
}

fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, arguments) = text.split_once('(')?;
    let (arguments, returned) = arguments.rsplit_once(" = ")?;
    let returned = returned.split_whitespace().next()?.parse().ok()?;
    let after = arguments.split_once('<').map_or("", |(_, after)| after);
    let target = match after.strip_prefix("TCP:[") {
        Some(socket) => socket.split(']').next()?,
        None => after.split('>').next()?,
    };
    let (name, target) = (name.to_owned(), target.to_owned());
    Some(Call { name, target, data: strings(arguments), began, ended, returned })
}

/// The bytes of all quoted strings, one after the other.
fn strings(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().peekable();
    let mut is_inside = false;
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => is_inside = !is_inside,
            _ if !is_inside => {}
            b'\\' => match rest.next() {
                Some(b'n') => bytes.push(b'\n'),
                Some(b'r') => bytes.push(b'\r'),
                Some(b't') => bytes.push(b'\t'),
                Some(b'v') => bytes.push(0x0b),
                Some(b'f') => bytes.push(0x0c),
                Some(digit @ b'0'..=b'7') => {
                    let mut value = u32::from(digit - b'0');
                    let mut digits = 1;
                    while let Some(digit) = rest.next_if(|next| digits < 3 && (b'0'..=b'7').contains(next)) {
                        value = value * 8 + u32::from(digit - b'0');
                        digits += 1;
                    }
                    bytes.push(u8::try_from(value).expect("three octal digits of one byte"));
                }
                Some(other) => bytes.push(other),
                None => {}
            },
            other => bytes.push(other),
        }
    }
    bytes
}

#[test]
fn a_call_that_was_interrupted_is_put_together_again() {
    let trace = "\
        7 pwrite64(15</d/log/db>, \"a\\0\\12b\\\"\\33\\377\"..., 7, 100 <unfinished ...>\n\
        8 fdatasync(13</d/tip>) = -1 EIO (Input/output error) (INJECTED)\n\
        7 <... pwrite64 resumed>) = 7\n\
        8 recvfrom(16<TCP:[127.0.0.1:1->127.0.0.1:2]>,  <unfinished ...>\n\
        9 +++ exited with 0 +++\n\
        8 <... recvfrom resumed>\"GET / HTTP/1.1\\r\\n\", 24, 0, NULL, NULL) = 16\n";
    let calls = calls(trace);
    let seen: Vec<_> = calls.iter().map(|call| (call.began, call.ended, call.returned)).collect();
    assert_eq!(seen, [(0, 2, 7), (1, 1, -1), (3, 5, 16)]);
    assert_eq!(calls[0].data, b"a\0\nb\"\x1b\xff");
    assert_eq!((calls[0].target.as_str(), calls[0].name.as_str()), ("/d/log/db", "pwrite64"));
    assert_eq!(calls[2].target, "127.0.0.1:1->127.0.0.1:2");
    assert_eq!(calls[2].data, b"GET / HTTP/1.1\r\n");
}
