//! The admin port of a server, asked as a person with curl does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::Server;

/// Status and body of a GET.
pub fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

/// Status and body of what a request is answered with.
pub fn ask(address: &str, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Where the server said that it serves metrics, the last time that it started.
pub fn admin(server: &Server) -> String {
    let out = fs::read_to_string(server.place.dir.join("out")).unwrap();
    let line = out.lines().rfind(|l| l.starts_with("metrics and health")).expect("a line about it");
    line.rsplit('/').next().unwrap().to_owned()
}
