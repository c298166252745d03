// Command icon draws the pictures of the task and the extension: a shipping container with a seal on it.
//
// The pictures are committed; this program is their source. It uses the standard library only, and the same version of
// Go draws the same bytes:
//
//	go run ./tools/package/icon
package main

import (
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "the project's root folder, where the pictures are written")
	flag.Parse()
	for name, p := range map[string]picture{
		// The task's picture stands beside a line of text, so it has fewer and thicker parts.
		"icon.png":                  {size: 32, ribs: 4, tick: 0.062},
		"images/extension-icon.png": {size: 128, ribs: 6, tick: 0.046},
	} {
		if err := p.write(filepath.Join(*root, name)); err != nil {
			fmt.Fprintln(os.Stderr, "icon:", err)
			os.Exit(1)
		}
	}
}

// picture is what differs between the sizes. All lengths but size are parts of the picture's width.
type picture struct {
	size int     // pixels, both ways
	ribs int     // of the container's side
	tick float64 // half the thickness of the check mark
}

// samples are taken of every pixel, both ways; their mean makes smooth edges.
const samples = 8

func (p picture) write(path string) error {
	img := image.NewNRGBA(image.Rect(0, 0, p.size, p.size))
	for y := range p.size {
		for x := range p.size {
			img.SetNRGBA(x, y, p.pixel(x, y))
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(f, img); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (p picture) pixel(x, y int) color.NRGBA {
	var r, g, b, a float64
	for i := range samples * samples {
		u := (float64(x) + (float64(i%samples)+0.5)/samples) / float64(p.size)
		v := (float64(y) + (float64(i/samples)+0.5)/samples) / float64(p.size)
		c := p.at(u, v)
		part := float64(c.A) / 255
		r, g, b, a = r+float64(c.R)*part, g+float64(c.G)*part, b+float64(c.B)*part, a+part
	}
	if a == 0 {
		return color.NRGBA{}
	}
	return color.NRGBA{uint8(r/a + 0.5), uint8(g/a + 0.5), uint8(b/a + 0.5), uint8(a*255/(samples*samples) + 0.5)}
}

// at is the colour of one point, from the front layer to the back.
func (p picture) at(u, v float64) color.NRGBA {
	const sealX, sealY, sealR = 0.68, 0.64, 0.27
	d := math.Hypot(u-sealX, v-sealY)
	switch {
	case min(segment(u, v, sealX-0.115, sealY+0.005, sealX-0.03, sealY+0.09),
		segment(u, v, sealX-0.03, sealY+0.09, sealX+0.125, sealY-0.085)) < p.tick:
		return color.NRGBA{255, 255, 255, 255} // the check mark
	case d < sealR*0.80:
		return mix(color.NRGBA{46, 190, 116, 255}, color.NRGBA{17, 138, 88, 255}, (v-sealY+sealR)/(2*sealR))
	case d < wave(u-sealX, v-sealY, sealR):
		return color.NRGBA{12, 110, 70, 255} // the seal's edge
	case d < wave(u-sealX, v-sealY, sealR)+0.035:
		return color.NRGBA{} // a gap, so that the seal stands out on any background
	}
	return p.container(u, v)
}

// container is a shipping container from its side: a frame, and a wall of ribs.
func (p picture) container(u, v float64) color.NRGBA {
	const left, top, right, bottom = 0.04, 0.17, 0.96, 0.79
	if box(u, v, left, top, right, bottom, 0.05) > 0 {
		return color.NRGBA{}
	}
	const frame = 0.075
	if box(u, v, left+frame, top+frame, right-frame, bottom-frame, 0.012) > 0 {
		return mix(color.NRGBA{24, 96, 150, 255}, color.NRGBA{15, 62, 102, 255}, (v-top)/(bottom-top))
	}
	phase := (u - left - frame) / (right - left - 2*frame) * float64(p.ribs)
	if phase-math.Floor(phase) < 0.5 {
		return color.NRGBA{77, 163, 222, 255}
	}
	return color.NRGBA{40, 121, 186, 255}
}

// wave is the radius of the seal's edge in the direction of (x, y): a circle with twelve soft teeth.
func wave(x, y, r float64) float64 {
	return r * (0.955 + 0.045*math.Cos(12*math.Atan2(y, x)))
}

// segment is the distance of (x, y) from the line between two points.
func segment(x, y, x1, y1, x2, y2 float64) float64 {
	dx, dy := x2-x1, y2-y1
	t := max(0, min(1, ((x-x1)*dx+(y-y1)*dy)/(dx*dx+dy*dy)))
	return math.Hypot(x-x1-t*dx, y-y1-t*dy)
}

// box is the distance of (x, y) from a rectangle with round corners; negative inside.
func box(x, y, left, top, right, bottom, round float64) float64 {
	dx := math.Abs(x-(left+right)/2) - (right-left)/2 + round
	dy := math.Abs(y-(top+bottom)/2) - (bottom-top)/2 + round
	return math.Hypot(max(dx, 0), max(dy, 0)) + min(max(dx, dy), 0) - round
}

func mix(a, b color.NRGBA, t float64) color.NRGBA {
	part := func(a, b uint8) uint8 { return uint8(float64(a) + (float64(b)-float64(a))*max(0, min(1, t))) }
	return color.NRGBA{part(a.R, b.R), part(a.G, b.G), part(a.B, b.B), 255}
}
