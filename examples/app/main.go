// Command hello is the example that make demo puts into a signed image.
package main

import "fmt"

func main() {
	fmt.Println("Hello from a signed image.")
}
