//! The admin listener: health, readiness and metrics, on the control plane's own thread.
//!
//! hyper speaks the HTTP; nothing here touches a shard but to read its counters.

mod accounts;
mod io;
mod metrics;
mod placement;
mod process;
mod status;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use ninefold_runtime::net::{TcpListener, TcpStream};
use ninefold_runtime::{clock, spawn_local, timeout};

use io::ShardIo;
pub(crate) use status::{STUCK_NS, ShardStatus, Status};

use crate::limits::ADMIN_HEAD_BYTES;

/// How often a failing accept is logged.
const LOG_EVERY_NS: u64 = 1_000_000_000;

/// What the admin listener lets its peers have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections open at once; beyond it a connection is closed at accept.
    connections: usize,
    /// How long one connection may live.
    life: Duration,
    /// How long a peer may send nothing and take nothing.
    silence: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 64,
            life: Duration::from_secs(300),
            silence: Duration::from_secs(20),
        }
    }
}

/// Serves the admin listener for ever, on the control plane.
pub(crate) async fn serve(mut listener: TcpListener, status: Arc<Status>, bounds: Bounds) {
    // One reference for us, and one for each connection: a task that panics drops its own too.
    let places = Rc::new(());
    let mut logged_ns = 0;
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                let now_ns = clock::monotonic_ns();
                if now_ns - logged_ns > LOG_EVERY_NS {
                    logged_ns = now_ns;
                    tracing::warn!(%error, "admin accept failed");
                }
                continue;
            }
        };
        if Rc::strong_count(&places) > bounds.connections {
            tracing::debug!("admin connection closed at accept: there are too many");
            continue;
        }
        let (place, status) = (places.clone(), status.clone());
        let spawned = spawn_local(async move {
            let _place = place;
            answer(stream, status, bounds).await;
        });
        if let Err(why) = spawned {
            tracing::warn!(%why, "admin connection closed at accept");
        }
    }
}

/// Serves one connection to its end.
async fn answer(stream: TcpStream, status: Arc<Status>, bounds: Bounds) {
    let answer = service_fn(move |request| {
        let answer = route(&request, &status);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(ADMIN_HEAD_BYTES)
        .serve_connection(ShardIo::new(stream, bounds.silence), answer);
    // A peer that misbehaves ends its own connection and nothing else.
    match timeout(bounds.life, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection ended"),
        Err(_) => tracing::debug!("admin connection reached the end of its life"),
    }
}

fn route(request: &Request<Incoming>, status: &Arc<Status>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/health" => {
            let (healthy, body) = status.health();
            json(
                if healthy {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                },
                body,
            )
        }
        "/ready" if status.is_ready() => text(StatusCode::OK, "ready\n"),
        "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/placement" => json(StatusCode::OK, placement::document(status)),
        "/metrics" => with_type(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            metrics::render(status),
        ),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /health, /ready, /placement and /metrics\n",
        ),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, "application/json", body)
}

fn with_type(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
