// Reads Cilium's monitor socket as its consumers do: Go's gob decoder, and the structs of Cilium 1.19's datapath.
//
// Usage: monitor_reader SOCKET [--stall-until FILE]
//
// Says "ready" when the stream has begun, and then a line of JSON for each message until it ends. With --stall-until
// no more than the beginning is read before the file is there.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// What the socket carries; gob goes by the fields' names.
type Payload struct {
	Data []byte
	CPU  int
	Lost uint64
	Type int
}

const (
	recordLost  = 2
	eventSample = 9
)

// Data's first byte.
const (
	typeDrop    = 1
	typeTrace   = 4
	typeVerdict = 5
	typeAgent   = 130
)

type capture struct {
	Type, SubType       uint8
	Source              uint16
	Hash, OrigLen       uint32
	CapLen              uint16
	Version, ExtVersion uint8
}

type dropNotify struct {
	capture
	SrcLabel, DstLabel, DstID uint32
	Line                      uint16
	File                      uint8
	ExtError                  int8
	Ifindex                   uint32
	Flags                     uint8
	Pad                       [3]uint8
	IPTraceID                 uint64
}

type traceNotify struct {
	capture
	SrcLabel, DstLabel uint32
	DstID              uint16
	Reason, Flags      uint8
	Ifindex            uint32
	OrigIP             [16]uint8
	IPTraceID          uint64
}

type verdictNotify struct {
	capture
	RemoteLabel     uint32
	Verdict         int32
	DstPort         uint16
	Proto, Flags    uint8
	AuthType        uint8
	Pad1            [3]uint8
	Cookie, Padding uint32
}

type agentNotify struct {
	Type uint32
	Text string
}

type line = map[string]any

// The notification, and the packet's bytes behind it.
func decode(data []byte, version uint8, into any) ([]byte, error) {
	size := binary.Size(into)
	if len(data) < size {
		return nil, fmt.Errorf("%d bytes, not %d", len(data), size)
	}
	if data[14] != version || data[15] != 0 {
		return nil, fmt.Errorf("version %d, extension %d", data[14], data[15])
	}
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, into); err != nil {
		return nil, err
	}
	packet := data[size:]
	if capLen := int(binary.LittleEndian.Uint16(data[12:])); capLen != len(packet) {
		return nil, fmt.Errorf("%d bytes are captured, %d are there", capLen, len(packet))
	}
	return packet, nil
}

func address(bytes []byte) string { return net.IP(bytes).String() }

// From the IP header on if the event came from a device without a link layer.
func dissect(packet []byte, l3, ipv6 bool, out line) error {
	if !l3 {
		if len(packet) < 14 {
			return errors.New("no Ethernet header")
		}
		out["ethertype"] = binary.BigEndian.Uint16(packet[12:])
		return nil
	}
	var proto uint8
	if ipv6 {
		if len(packet) < 40 || packet[0]>>4 != 6 {
			return errors.New("no IPv6 header")
		}
		out["src"], out["dst"] = address(packet[8:24]), address(packet[24:40])
		proto, packet = packet[6], packet[40:]
	} else {
		if len(packet) < 20 || packet[0] != 0x45 {
			return errors.New("no IPv4 header")
		}
		out["src"], out["dst"] = address(packet[12:16]), address(packet[16:20])
		proto, packet = packet[9], packet[20:]
	}
	out["proto"] = proto
	switch proto {
	case 6, 17:
		if len(packet) < 8 || proto == 6 && len(packet) < 20 {
			return errors.New("no transport header")
		}
		out["sport"], out["dport"] = binary.BigEndian.Uint16(packet), binary.BigEndian.Uint16(packet[2:])
		if proto == 6 {
			out["tcp-flags"] = packet[13]
		}
	case 1, 58:
		if len(packet) < 8 {
			return errors.New("no ICMP header")
		}
		out["icmp-type"] = packet[0]
	}
	return nil
}

func sample(data []byte) (line, error) {
	if len(data) == 0 {
		return nil, errors.New("no data")
	}
	switch data[0] {
	case typeDrop:
		var drop dropNotify
		packet, err := decode(data, 3, &drop)
		if err != nil {
			return nil, err
		}
		out := line{"type": "drop", "reason": drop.SubType, "source": drop.Source,
			"src-label": drop.SrcLabel, "dst-label": drop.DstLabel, "dst-id": drop.DstID,
			"file": drop.File, "line": drop.Line, "ifindex": drop.Ifindex, "length": drop.OrigLen, "hash": drop.Hash}
		return out, dissect(packet, drop.Flags&2 != 0, drop.Flags&1 != 0, out)
	case typeTrace:
		var trace traceNotify
		packet, err := decode(data, 2, &trace)
		if err != nil {
			return nil, err
		}
		original := trace.OrigIP[:4]
		if trace.Flags&1 != 0 {
			original = trace.OrigIP[:]
		}
		out := line{"type": "trace", "point": trace.SubType, "source": trace.Source,
			"src-label": trace.SrcLabel, "dst-label": trace.DstLabel, "dst-id": trace.DstID,
			"reason": trace.Reason, "ifindex": trace.Ifindex, "length": trace.OrigLen, "orig-ip": address(original)}
		return out, dissect(packet, trace.Flags&2 != 0, trace.Flags&1 != 0, out)
	case typeVerdict:
		var verdict verdictNotify
		packet, err := decode(data, 1, &verdict)
		if err != nil {
			return nil, err
		}
		out := line{"type": "verdict", "source": verdict.Source, "remote-label": verdict.RemoteLabel,
			"verdict": verdict.Verdict, "port": verdict.DstPort, "of-proto": verdict.Proto,
			"direction": verdict.Flags & 3, "match": verdict.Flags >> 3 & 7, "audited": verdict.Flags&0x40 != 0}
		return out, dissect(packet, verdict.Flags&0x80 != 0, verdict.Flags&4 != 0, out)
	case typeAgent:
		var notice agentNotify
		if err := gob.NewDecoder(bytes.NewReader(data[1:])).Decode(&notice); err != nil {
			return nil, err
		}
		if !json.Valid([]byte(notice.Text)) {
			return nil, fmt.Errorf("notice %d is no JSON: %s", notice.Type, notice.Text)
		}
		return line{"type": "agent", "notice": notice.Type, "text": json.RawMessage(notice.Text)}, nil
	}
	return nil, fmt.Errorf("type %d", data[0])
}

func explained(payload *Payload) line {
	switch payload.Type {
	case recordLost:
		return line{"type": "lost", "count": payload.Lost}
	case eventSample:
		out, err := sample(payload.Data)
		if err != nil {
			return line{"type": "error", "error": err.Error(), "data": fmt.Sprintf("%x", payload.Data)}
		}
		return out
	}
	return line{"type": "error", "error": fmt.Sprintf("payload of type %d", payload.Type)}
}

func run(arguments []string) error {
	if len(arguments) != 1 && (len(arguments) != 3 || arguments[1] != "--stall-until") {
		return errors.New("usage: monitor_reader SOCKET [--stall-until FILE]")
	}
	connection, err := net.Dial("unix", arguments[0])
	if err != nil {
		return err
	}
	// The stream begins as soon as the agent attends to it, whatever happens.
	stream := bufio.NewReader(connection)
	if _, err := stream.Peek(1); err != nil {
		return err
	}
	fmt.Println("ready")
	if len(arguments) == 3 {
		for _, err := os.Stat(arguments[2]); err != nil; _, err = os.Stat(arguments[2]) {
			time.Sleep(20 * time.Millisecond)
		}
	}
	decoder, output := gob.NewDecoder(stream), bufio.NewWriter(os.Stdout)
	for {
		var payload Payload
		if err := decoder.Decode(&payload); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		text, err := json.Marshal(explained(&payload))
		if err != nil {
			return err
		}
		output.Write(append(text, '\n'))
		if err := output.Flush(); err != nil {
			return err
		}
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "monitor_reader:", err)
		os.Exit(1)
	}
}
