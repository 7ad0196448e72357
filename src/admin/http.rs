//! The HTTP port: hyper on a thread of its own, never on a shard.
//!
//! Each request is answered whole and small; a client has 30 s for all it does on a
//! connection, and there are 64 of them at most.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Nodes;

const CLIENTS_MAX: usize = 64;
const CLIENT_WITHIN: Duration = Duration::from_secs(30);
/// Pause after a failure to accept, as when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const PLAIN: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The endpoint; dropping it ends its thread.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Option<async_channel::Sender<Infallible>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Endpoint {
    /// Binds `address` and serves what `nodes` tell.
    ///
    /// # Errors
    /// What the kernel said, as when the port is taken.
    pub fn start(address: (&str, u16), nodes: Nodes) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = async_channel::bounded(1);
        let run = move || {
            runtime.block_on(async move {
                let accepts = accept(listener, nodes);
                tokio::select! {
                    () = accepts => {}
                    _ = stopped.recv() => {}
                }
            });
        };
        let thread = thread::Builder::new().name("admin".into()).spawn(run)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, nodes: Nodes) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if clients.load(Ordering::Relaxed) < CLIENTS_MAX => {
                let (nodes, clients) = (nodes.clone(), Arc::clone(&clients));
                clients.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CLIENT_WITHIN, serve(stream, nodes)).await;
                    clients.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, nodes: Nodes) {
    let answers = service_fn(move |request| {
        let nodes = nodes.clone();
        async move { Ok::<_, Infallible>(answer(&request, &nodes).await) }
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answers);
    // A client that hangs up or speaks no HTTP is its own concern.
    let _ = served.await;
}

async fn answer(request: &Request<Incoming>, nodes: &Nodes) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".into());
    }
    let told = |state: Result<(), String>| match state {
        Ok(()) => response(StatusCode::OK, PLAIN, "ok\n".into()),
        Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why),
    };
    match request.uri().path() {
        "/metrics" => response(StatusCode::OK, PROMETHEUS, nodes.metrics().await),
        "/healthz" => told(nodes.health().await),
        "/readyz" => told(nodes.readiness().await),
        _ => {
            let there = "there is /metrics, /healthz and /readyz\n";
            response(StatusCode::NOT_FOUND, PLAIN, there.into())
        }
    }
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
