package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif" // formats a thumbnail may have
	_ "image/jpeg"
	"image/png"
	"io"
	iofs "io/fs"
	"os"
)

// What Drive takes as a thumbnail
// (https://developers.google.com/drive/api/guides/file#upload_thumbnails).
const (
	maxThumbnail      = 2 << 20 // bytes
	minThumbnailWidth = 220     // pixels
)

// thumbnail is the picture that pushed images get in Drive's web page: the
// file at path, which SREGISTRY_THUMBNAIL names, or without one our robot.
func thumbnail(path string) ([]byte, error) {
	if path == "" {
		return robot()
	}
	f, err := os.Open(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, localFile(fmt.Errorf("SREGISTRY_THUMBNAIL: %s does not exist", path))
	}
	if err != nil {
		return nil, localFile(fmt.Errorf("SREGISTRY_THUMBNAIL: %w", err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxThumbnail+1))
	if err != nil {
		return nil, localFile(fmt.Errorf("SREGISTRY_THUMBNAIL: %w", err))
	}
	if len(data) > maxThumbnail {
		return nil, fmt.Errorf("SREGISTRY_THUMBNAIL: %s has more than the %d bytes Drive takes", path, maxThumbnail)
	}
	conf, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("SREGISTRY_THUMBNAIL: %s: %w; it must be PNG, JPEG or GIF", path, err)
	}
	if conf.Width < minThumbnailWidth {
		return nil, fmt.Errorf("SREGISTRY_THUMBNAIL: %s is %d pixels wide, Drive wants %d or more", path, conf.Width, minThumbnailWidth)
	}
	return data, nil
}

// robot draws a robot's head, 440 by 440 pixels, as PNG.
func robot() ([]byte, error) {
	sky, steel := color.RGBA{0xe8, 0xf1, 0xf8, 0xff}, color.RGBA{0x5b, 0x7a, 0x8c, 0xff}
	dark, light, red := color.RGBA{0x24, 0x35, 0x40, 0xff}, color.RGBA{0xff, 0xff, 0xff, 0xff}, color.RGBA{0xd9, 0x4f, 0x3d, 0xff}
	img := image.NewRGBA(image.Rect(0, 0, 440, 440))
	fill := func(c color.Color, x0, y0, x1, y1 int) {
		draw.Draw(img, image.Rect(x0, y0, x1, y1), image.NewUniform(c), image.Point{}, draw.Src)
	}
	disc := func(c color.Color, cx, cy, r int) {
		for y := cy - r; y <= cy+r; y++ {
			for x := cx - r; x <= cx+r; x++ {
				if (x-cx)*(x-cx)+(y-cy)*(y-cy) <= r*r {
					img.Set(x, y, c)
				}
			}
		}
	}
	fill(sky, 0, 0, 440, 440)
	fill(steel, 214, 60, 226, 110) // antenna
	disc(red, 220, 52, 20)
	fill(dark, 60, 200, 90, 280) // ears
	fill(dark, 350, 200, 380, 280)
	fill(steel, 90, 110, 350, 370) // head
	for _, x := range []int{160, 280} {
		disc(light, x, 205, 42)
		disc(dark, x, 205, 20)
	}
	fill(dark, 140, 290, 300, 335) // mouth
	for x := 158; x < 300; x += 32 {
		fill(light, x, 296, x+14, 329)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("draw the thumbnail: %w", err)
	}
	return out.Bytes(), nil
}
