//! Addresses of files: `http://HOST[:PORT]/PATH` and `https://`.

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// By TLS.
    pub secure: bool,
    /// Host, without the brackets of an IPv6 address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Url {
    /// Reads an address as typed.
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("it has characters that an address has to encode");
        }
        let (secure, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("it is no http:// or https:// address"),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it has a user and a password in it, which others see in the list of processes");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or("its host is no name")?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or("its port is no number")?) })
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':')) {
            return Err("its host is no name");
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|p| *p > 0).ok_or("its port is no number")?,
            None if secure => 443,
            None => 80,
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { secure, host: host.to_owned(), port, path })
    }

    /// Host and port, as the `Host` header has them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.secure { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }

    /// What a reference in an answer of this address leads to.
    pub fn join(&self, reference: &str) -> Result<Url, &'static str> {
        let scheme = if self.secure { "https" } else { "http" };
        if reference.contains("://") {
            Url::parse(reference)
        } else if reference.starts_with("//") {
            Url::parse(&format!("{scheme}:{reference}"))
        } else if reference.starts_with('/') {
            Url::parse(&format!("{scheme}://{}{reference}", self.authority()))
        } else {
            Ok(self.sibling(reference))
        }
    }

    /// A file of that name in the same directory.
    pub fn sibling(&self, name: &str) -> Url {
        let path = self.path.split('?').next().unwrap_or_default();
        let directory = path.rfind('/').map_or("/", |at| &path[..=at]);
        Url { path: format!("{directory}{name}"), ..self.clone() }
    }

    /// The last part of its path.
    pub fn file_name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("http://example.org/a/b.tar.xz?x#y", "http://example.org/a/b.tar.xz?x"),
            ("https://example.org:8443", "https://example.org:8443/"),
            ("http://[::1]:80/x", "http://[::1]/x"),
            ("https://h:443?q", "https://h/?q"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), want);
        }
        for bad in [
            "",
            "ftp://x/",
            "http://",
            "http://u:p@h/",
            "http://h:0/",
            "http://h:x/",
            "http://h/a b",
            "http://[::1/x",
            "http://h\r\nX: y/",
            "file:///etc/passwd",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad:?}");
        }
        let base = Url::parse("https://h/a/b?c").unwrap();
        for (reference, want) in [("c", "https://h/a/c"), ("/c", "https://h/c"), ("//g/c", "https://g/c"), ("http://g:1/c", "http://g:1/c")] {
            assert_eq!(base.join(reference).unwrap().to_string(), want);
        }
        assert_eq!((base.file_name(), base.sibling("SHA256SUMS").to_string().as_str()), ("b", "https://h/a/SHA256SUMS"));
    }
}
