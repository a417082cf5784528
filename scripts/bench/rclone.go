package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// googleapis is the only Drive that rclone's backend knows.
const googleapis = "www.googleapis.com"

// rcloneFlags are full mode with what helped it most with container starts here, found by trying: smaller chunks than its
// own, because a start jumps, a smaller window in which a reader waits for what another fetches, and no waiting between
// requests. Several streams for a chunk (--vfs-read-chunk-streams) doubled its times and tripled its bytes.
var rcloneFlags = []string{
	"--vfs-cache-mode", "full", "--read-only", "--allow-other", "--dir-cache-time", "24h", "--poll-interval", "0", "--attr-timeout", "1h",
	"--drive-pacer-min-sleep", "1ms", "--drive-pacer-burst", "1000", "--no-modtime", "--vfs-fast-fingerprint",
	"--vfs-read-chunk-size", "16M", "--vfs-read-chunk-size-limit", "64M", "--buffer-size", "12M",
}

// rclone is the peer: its Drive backend against the emulated Drive, through a proxy that is www.googleapis.com for it,
// under a certificate of ours. TLS costs it some 2 ms of processor time for each MB, and nothing else.
type rclone struct {
	proxy string // address of the proxy
	ca    string // file of the certificate
}

func (f *field) newRclone() (*rclone, error) {
	r := &rclone{ca: f.path("ca.pem")}
	cert, err := newCertificate(r.ca)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // answers at once
	if err != nil {
		return nil, err
	}
	r.proxy = "http://" + l.Addr().String()
	behind := &handedOver{conns: make(chan net.Conn), done: make(chan struct{}), addr: l.Addr()}
	drive := &http.Server{Handler: f.srv.Handler(), ReadHeaderTimeout: time.Minute}
	front := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodConnect || req.Host != googleapis+":443" {
			http.Error(w, "this is not the way to "+req.Host, http.StatusForbidden)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			_ = conn.Close()
			return
		}
		behind.hand(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = front.Serve(l) }) // ends with ErrServerClosed, from Close
	serving.Go(func() { _ = drive.Serve(behind) })
	f.after = append(f.after, func() error {
		err := errors.Join(front.Close(), drive.Close())
		serving.Wait()
		return err
	})
	return r, nil
}

// handedOver is a listener whose connections come from elsewhere.
type handedOver struct {
	conns chan net.Conn
	done  chan struct{} // closed by Close
	addr  net.Addr
}

func (l *handedOver) hand(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		_ = c.Close()
	}
}

// Accept, Close and Addr make a net.Listener.
func (l *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close is called once, by the server.
func (l *handedOver) Close() error { close(l.done); return nil }

// Addr is the proxy's.
func (l *handedOver) Addr() net.Addr { return l.addr }

// newCertificate makes one for googleapis that lasts a day, and writes it to a file for those who are to trust it.
func newCertificate(file string) (c tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "sregfs bench"}, DNSNames: []string{googleapis},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return c, err
	}
	pemText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(file, pemText, 0o644)
}

// rcloneMount mounts the plain folder with an empty cache and looks at it once.
func (f *field) rcloneMount() (*mounted, error) {
	if f.rclone == nil {
		var err error
		if f.rclone, err = f.newRclone(); err != nil {
			return nil, err
		}
	}
	base, err := f.fresh("rclone")
	if err != nil {
		return nil, err
	}
	m := &mounted{dir: filepath.Join(base, "mnt")}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		return nil, err
	}
	token := fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expiry":%q}`, f.user.AccessToken(), time.Now().Add(24*time.Hour).Format(time.RFC3339))
	args := append([]string{"mount", "bench:", m.dir, "--cache-dir", filepath.Join(base, "cache"), "--ca-cert", f.rclone.ca}, rcloneFlags...)
	cmd := f.command(f.o.rclone, args...)
	log, err := os.Create(filepath.Join(base, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it unmounts
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + base, "HTTPS_PROXY=" + f.rclone.proxy, "RCLONE_CONFIG=" + filepath.Join(base, "none"),
		"RCLONE_CONFIG_BENCH_TYPE=drive", "RCLONE_CONFIG_BENCH_SCOPE=drive", "RCLONE_CONFIG_BENCH_TOKEN=" + token,
		"RCLONE_CONFIG_BENCH_ROOT_FOLDER_ID=" + f.plain, "RCLONE_CONFIG_BENCH_CLIENT_ID=bench", "RCLONE_CONFIG_BENCH_CLIENT_SECRET=bench",
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w; scripts/setup --bench builds rclone", err)
	}
	m.pid = cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // joined by end
	m.killed = func() { _ = ignoreInterrupt(f, <-ended) }
	m.unmount = func() error {
		_, err := output(f.command("fusermount3", "-u", m.dir))
		if err != nil {
			_ = cmd.Process.Signal(os.Interrupt)
		}
		return errors.Join(ignoreInterrupt(f, err), ignoreInterrupt(f, <-ended), os.RemoveAll(base))
	}
	f.after = append(f.after, m.end)
	for !mountedAt(m.dir) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-f.ctx.Done():
			return nil, f.ctx.Err()
		case err := <-ended:
			ended <- err
			text, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("rclone mount ended: %w\n%s", err, text)
		}
	}
	_, err = os.ReadDir(m.dir)
	return m, err
}

// ignoreInterrupt is nil for what goes wrong because the run was interrupted.
func ignoreInterrupt(f *field, err error) error {
	if f.ctx.Err() != nil {
		return nil //nolint:nilerr // said above
	}
	return err
}

// mountedAt tells whether something is mounted at dir.
func mountedAt(dir string) bool {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 1 && fields[1] == dir {
			return true
		}
	}
	return false
}

// rcloneStart is a start on a fresh rclone mount with an empty cache.
func (f *field) rcloneStart(c cell, img *hosted) (s sample, err error) {
	f.fast()
	m, err := f.rcloneMount()
	if err != nil {
		return s, err
	}
	s, err = f.timed(c, filepath.Join(m.dir, img.plain), m.kill)
	return s, errors.Join(err, os.RemoveAll(filepath.Dir(m.dir)))
}
