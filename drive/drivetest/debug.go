package drivetest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxDebugBody bounds what may be posted to the debug pages.
const maxDebugBody = 1 << 20

// debugHandler serves the emulator's own pages, which are neither logged nor shaped and need no sign-in:
//
//	GET, DELETE       /debug/requests  the log as a JSON array; DELETE empties it. ?format=text for people
//	GET, POST, DELETE /debug/faults    the rules in text form with their hits; POST adds one per line
//	GET, POST         /debug/shape     {"latency":"200ms","perConnection":40000000,"total":0}
//
// A browser page of another site cannot use them: POST and DELETE are refused if they carry its Origin.
func (s *Server) debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/requests", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("format") != "text" {
			writeJSONPlain(w, s.Requests())
			return
		}
		for _, q := range s.Requests() {
			_, _ = io.WriteString(w, q.String()+"\n")
		}
	})
	mux.HandleFunc("DELETE /debug/requests", func(w http.ResponseWriter, _ *http.Request) {
		s.ResetRequests()
		w.WriteHeader(http.StatusNoContent)
	})
	type fault struct {
		Rule string `json:"rule"`
		Hits int    `json:"hits"`
	}
	mux.HandleFunc("GET /debug/faults", func(w http.ResponseWriter, _ *http.Request) {
		faults := []fault{}
		for _, rule := range s.faults.list() {
			faults = append(faults, fault{rule.String(), rule.Hits()})
		}
		writeJSONPlain(w, faults)
	})
	mux.HandleFunc("POST /debug/faults", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDebugBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var rules []*Rule
		for line := range strings.Lines(string(body)) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			rule, err := ParseRule(line)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			rules = append(rules, rule)
		}
		s.Fault(rules...)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /debug/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	type shape struct {
		Latency       string `json:"latency"`
		PerConnection int64  `json:"perConnection"`
		Total         int64  `json:"total"`
	}
	mux.HandleFunc("GET /debug/shape", func(w http.ResponseWriter, _ *http.Request) {
		now := s.shaper.get()
		writeJSONPlain(w, shape{now.Latency.String(), now.PerConnection, now.Total})
	})
	mux.HandleFunc("POST /debug/shape", func(w http.ResponseWriter, r *http.Request) {
		in := shape{Latency: "0s"}
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDebugBody)).Decode(&in)
		latency, badLatency := time.ParseDuration(in.Latency)
		if err != nil || badLatency != nil || latency < 0 || in.PerConnection < 0 || in.Total < 0 {
			http.Error(w, `want {"latency":"200ms","perConnection":bytes a second,"total":bytes a second}`, http.StatusBadRequest)
			return
		}
		s.SetShape(Shape{Latency: latency, PerConnection: in.PerConnection, Total: in.Total})
		w.WriteHeader(http.StatusNoContent)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); r.Method != http.MethodGet && origin != "" && origin != "http://"+r.Host {
			http.Error(w, "the debug pages are not for other sites", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// writeJSONPlain writes v outside of the API, without masks.
func writeJSONPlain(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	_ = e.Encode(v) // the client has gone
}
