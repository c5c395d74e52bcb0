// Prints what ImageJ sees in 8-bit pictures and stacks, one JSON line a slice: java -cp ij.jar Slices.java FOLDER FILE...
// The files are named relative to FOLDER; "sha256" is that of the slice's pixels, row by row.
import ij.IJ;
import ij.ImagePlus;
import java.nio.file.*;
import java.security.MessageDigest;

public class Slices {
    public static void main(String[] args) throws Exception {
        for (int i = 1; i < args.length; i++) {
            ImagePlus image = IJ.openImage(Paths.get(args[0], args[i]).toString());
            for (int slice = 1; slice <= image.getStackSize(); slice++) {
                byte[] pixels = (byte[]) image.getStack().getPixels(slice);
                StringBuilder sum = new StringBuilder();
                for (byte b : MessageDigest.getInstance("SHA-256").digest(pixels)) sum.append(String.format("%02x", b));
                System.out.println("{\"file\":\"" + args[i] + "\",\"slice\":" + slice + ",\"width\":" + image.getWidth()
                    + ",\"height\":" + image.getHeight() + ",\"sha256\":\"" + sum + "\"}");
            }
        }
        System.exit(0);
    }
}
