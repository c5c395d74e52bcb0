// Writes a mask with an inverting look-up table as ImageJ saves it: java -cp ij.jar Mask.java FILE.tif
import ij.ImagePlus;
import ij.gui.Roi;
import ij.io.FileSaver;
import ij.process.ByteProcessor;

public class Mask {
    public static void main(String[] args) {
        ByteProcessor mask = new ByteProcessor(60, 40);
        mask.setColor(255);
        mask.fill(new Roi(10, 10, 20, 10));
        mask.invertLut();
        System.exit(new FileSaver(new ImagePlus("mask", mask)).saveAsTiff(args[0]) ? 0 : 1);
    }
}
