package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// slowSyncs returns how often the disk of rollcall's record took more than 10 ms: messages
// of such a moment are late whatever the server does. Of Kamailio, which has no record, it
// returns 0.
func (s *server) slowSyncs(ctx context.Context) (uint64, error) {
	if s.http == "" {
		return 0, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", s.name, err)
	}
	defer answer.Body.Close()
	const name = "rollcall_archive_sync_seconds"
	values := map[string]uint64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(key, name) {
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			values[strings.TrimPrefix(key, name)] = n
		}
	}
	all, ok := values["_count"]
	fast, too := values[`_bucket{le="0.01"}`]
	if !ok || !too {
		return 0, fmt.Errorf("metrics of %s: no %s", s.name, name)
	}
	return all - fast, nil
}
