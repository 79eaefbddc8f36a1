// controlplane: a Kubernetes control plane in one program.
//
// Usage: controlplane etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kwok [flags of that program]
//
//	controlplane certificate FOLDER
//
// The five programs share most of their packages; one program compiles and links those once, which on a small
// machine is the difference between one long build and five. Each subcommand runs what the main package of the
// program of that name runs, with the same flags.
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	_ "time/tzdata"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/util/cert"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = append([]string{name}, os.Args[2:]...)
	}
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand)
	case "kube-controller-manager":
		run(controllers.NewControllerManagerCommand)
	case "kube-scheduler":
		run(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	case "kwok":
		kwok()
	case "certificate":
		certificate(os.Args[1:])
	default:
		fmt.Fprintln(os.Stderr, "usage: controlplane etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kwok [flags]")
		os.Exit(2)
	}
}

func run(command func() *cobra.Command) {
	os.Exit(cli.Run(command()))
}

// kwok reads its global flags (configuration, log level) before the command exists.
func kwok() {
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsWhitelist.UnknownFlags = true
	flags.Usage = func() {}
	ctx, logger := log.InitFlags(signals.SetupSignalContext(), flags)
	ctx, err := kwokconfig.InitFlags(ctx, flags)
	if err != nil {
		logger.Error("Init config flags", err)
		os.Exit(1)
	}
	command := cmd.NewCommand(ctx)
	command.Version = "" // Kubernetes' own --version, which every command here has, is of another type
	command.PersistentFlags().AddFlagSet(flags)
	if err := command.ExecuteContext(ctx); err != nil {
		logger.Error("Execute exit", err)
		os.Exit(1)
	}
}

// certificate writes tls.crt (a certificate for 127.0.0.1 and localhost, and the authority that signed it) and
// tls.key into a folder: for the API server, the simulated kubelets, and as the key of service account tokens.
func certificate(args []string) {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: controlplane certificate FOLDER")
		os.Exit(2)
	}
	crt, key, err := cert.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err == nil {
		err = os.WriteFile(filepath.Join(args[0], "tls.crt"), crt, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(args[0], "tls.key"), key, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
