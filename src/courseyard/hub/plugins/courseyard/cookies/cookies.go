// Package cookies is a middleware of Traefik: a server of a person sets cookies of its own path alone.
//
// Traefik interprets this file itself (https://github.com/traefik/yaegi); nothing compiles it.
package cookies

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Config is what the dynamic configuration sets.
type Config struct {
	// Users is the path of all servers, with a slash at its end: "/user/". Empty where a person's servers
	// have a host of their own.
	Users string `json:"users"`
}

// CreateConfig is asked for by Traefik.
func CreateConfig() *Config { return &Config{} }

type middleware struct {
	next  http.Handler
	users string
}

// New is asked for by Traefik.
func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	return &middleware{next, config.Users}, nil
}

func (m *middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	own := "/"
	if m.users != "" {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, m.users), "/")
		own = m.users + name + "/"
	}
	m.next.ServeHTTP(&writer{ResponseWriter: w, own: own}, r)
}

// passes says whether a browser keeps this Set-Cookie below the path own alone. Without a path it does:
// the directory of what it asked for counts (RFC 6265, 5.1.4).
func passes(cookie string, own string) bool {
	for _, part := range strings.Split(cookie, ";")[1:] {
		name, value, _ := strings.Cut(part, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "domain":
			return false
		case "path":
			path, err := url.PathUnescape(strings.TrimSpace(value))
			if err != nil || !strings.HasPrefix(path+"/", own) {
				return false
			}
		}
	}
	return true
}

// writer is the answer on its way. Traefik's interpreter hands on Header, Write, WriteHeader and Hijack
// alone, so a stream is flushed here.
type writer struct {
	http.ResponseWriter
	own      string
	streams  bool
	hijacked bool
}

// Header is asked for a last time after Hijack, with what the server answered to an upgrade.
func (w *writer) Header() http.Header {
	header := w.ResponseWriter.Header()
	if w.hijacked {
		w.strip(header)
	}
	return header
}

func (w *writer) strip(header http.Header) {
	kept := []string{}
	for _, cookie := range header["Set-Cookie"] {
		if passes(cookie, w.own) {
			kept = append(kept, cookie)
		}
	}
	if len(kept) < len(header["Set-Cookie"]) {
		header["Set-Cookie"] = kept
	}
}

func (w *writer) WriteHeader(status int) {
	header := w.ResponseWriter.Header()
	w.strip(header)
	w.streams = header.Get("Content-Length") == ""
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(data []byte) (int, error) {
	n, err := w.ResponseWriter.Write(data)
	if w.streams && err == nil {
		w.ResponseWriter.(http.Flusher).Flush()
	}
	return n, err
}

// Hijack is for WebSockets.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return w.ResponseWriter.(http.Hijacker).Hijack()
}
