// Command kstatus reads a JSON list of objects and prints the JSON list of what kstatus says of each, as `kubectl wait`,
// Flux and Argo CD's health checks understand them.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run() error {
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	verdicts := make([]string, 0, len(objects))
	for _, object := range objects {
		// Numbers as the API machinery has them: whole ones are no floats.
		text, err := json.Marshal(object)
		if err != nil {
			return err
		}
		var read unstructured.Unstructured
		if err := read.UnmarshalJSON(text); err != nil {
			return err
		}
		result, err := status.Compute(&read)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, result.Status.String())
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}
