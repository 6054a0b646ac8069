//! Whom a client wants to reach: the server name of TLS (RFC 6066, section 3), the host of HTTP (RFC 9110, section 7.2).
//!
//! Only the segment with the beginning of a message is looked at.

use serde::Serialize;

use crate::bytes::{be16, be24};

/// RFC 1035, section 2.3.4; a host of HTTP may have a port besides.
const LONGEST: usize = 255 + 6;

/// In the JSON form of a flow's `TLS`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Tls {
    pub server_name: Box<str>,
}

/// In the JSON form of a flow's `HTTP`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Http {
    pub method: &'static str,
    pub host: Box<str>,
}

fn host(bytes: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let fits = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.into())
}

/// The server name of a ClientHello (RFC 8446, section 4.1.2).
pub fn client_hello(payload: &[u8]) -> Option<Tls> {
    // A handshake record of some TLS, with a ClientHello.
    if payload.first() != Some(&22) || payload.get(1) != Some(&3) || payload.get(5) != Some(&1) {
        return None;
    }
    let hello = payload.get(9..)?;
    let hello = &hello[..hello.len().min(be24(payload, 6)? as usize)];
    let mut at = 2 + 32; // version, random
    at += 1 + usize::from(*hello.get(at)?); // session id
    at += 2 + usize::from(be16(hello, at)?); // cipher suites
    at += 1 + usize::from(*hello.get(at)?); // compression methods
    let mut extensions = hello.get(at + 2..)?;
    while let (Some(kind), Some(size)) = (be16(extensions, 0), be16(extensions, 2)) {
        let body = extensions.get(4..4 + usize::from(size))?;
        if kind == 0 {
            // A list with one name of type host_name.
            let size = usize::from(be16(body, 3)?);
            return (body.get(2) == Some(&0))
                .then(|| host(body.get(5..5 + size)?))
                .flatten()
                .map(|server_name| Tls { server_name });
        }
        extensions = &extensions[4 + usize::from(size)..];
    }
    None
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Method and host of a request's first lines (RFC 9112, section 3).
pub fn request(payload: &[u8]) -> Option<Http> {
    let method = METHODS
        .into_iter()
        .find(|method| payload.starts_with(method.as_bytes()) && payload.get(method.len()) == Some(&b' '))?;
    for line in payload.split(|byte| *byte == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        let Some((name, value)) = line.split_at_checked(5) else { continue };
        if name.eq_ignore_ascii_case(b"host:") {
            return host(value.trim_ascii()).map(|host| Http { method, host });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_request() {
        let found = request(b"GET / HTTP/1.1\r\nAccept: */*\r\nHOST:  example.org:8080 \r\n\r\n");
        assert_eq!(found, Some(Http { method: "GET", host: "example.org:8080".into() }));
        assert_eq!(request(b"GET / HTTP/1.1\r\n\r\nHost: in.the.body\r\n"), None);
        assert_eq!(request(b"GETTING"), None);
    }

    #[test]
    fn the_server_name_of_a_hello() {
        let name = b"example.org";
        let mut body = vec![3, 3];
        body.extend([0; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]); // no session id, one suite, one compression method
        let mut extension = vec![0, 0, 0, name.len() as u8 + 5, 0, name.len() as u8 + 3, 0, 0, name.len() as u8];
        extension.extend(name);
        body.extend([0, extension.len() as u8 + 4, 0, 23, 0, 0]);
        body.extend(&extension);
        let mut record = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
        record.extend(&body);
        assert_eq!(client_hello(&record).map(|tls| tls.server_name.to_string()).as_deref(), Some("example.org"));
        for size in 0..record.len() {
            assert_eq!(client_hello(&record[..size]), None);
        }
    }
}
